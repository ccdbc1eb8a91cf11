"""Masking samples: by a mixture, or by fixed roles."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs
import numpy as np

from anymodal.errors import DataError
from anymodal.masking.budgets import Alphas, Gammas
from anymodal.masking.config import MaskingConfig, spelled_out
from anymodal.masking.schemes import Concentrations, Streams
from anymodal.masking.selection import NONE, Chosen, Selection, pack, select_stream
from anymodal.masking.spans import select_sequence
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed


class Masker:
    """Turns tokenized samples into packed ones.

    A sample maps stream names to ids (n,) or rows (n, width); it may lack streams. The same sample and random
    generator state give the same selection.

    Args:
        layout: of the set.
        config: the recipe.

    Raises:
        ConfigError: the recipe does not fit the set.
    """

    def __init__(self, layout: Layout, config: MaskingConfig) -> None:
        config = spelled_out(config, layout)
        self.layout, self.config = layout, config
        self._streams = Streams(layout.streams)
        weights = np.array([c.weight for c in config.components], float)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._alphas = [
            (Alphas(self._by_stream(c.inputs, "input")), Alphas(self._by_stream(c.targets, "target")))
            for c in config.components
        ]
        usable = np.array([s.target for s in layout.streams])
        self._uses = [(inputs.values > 0, (targets.values > 0) & usable) for inputs, targets in self._alphas]
        self._fits: dict[tuple[str, ...], np.ndarray] = {}  # by the streams of a sample
        self._unseen = self._unseen_hidden() if config.scheme.usable_only else frozenset[str]()

    def _by_stream(self, alphas: Mapping[str, float], side: str) -> np.ndarray:
        """Concentrations in the order of the layout."""
        every = not self.config.scheme.usable_only
        return np.array([alphas.get(s.name, 0.0) if every or getattr(s, side) else 0.0 for s in self.layout.streams])

    def _unseen_hidden(self) -> frozenset[str]:
        """Sequences that are predicted, and of which no component reads a hidden part."""
        hiding = {
            name
            for component in self.config.components
            for name, alpha in component.inputs.items()
            if alpha > 0 and component.weight > 0 and component.keep.get(name, "random") != "all"
        }
        asked = {name for component in self.config.components for name, alpha in component.targets.items() if alpha > 0}
        return frozenset(s.name for s in self.layout.streams if can_hide(s) and s.name in asked - hiding)

    def component(self, rng: np.random.Generator) -> int:
        """Draw a component of the mixture."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self._alphas) - 1)

    def fitting(self, sample: Mapping[str, np.ndarray], component: int, rng: np.random.Generator) -> int:
        """The component, or another one drawn by weight if it has nothing to read or to predict in the sample.

        Raises DataError if no component has.
        """
        fits = self._fits.get(tuple(sample))
        if fits is None:
            here = np.array([s.name in sample for s in self.layout.streams])
            fits = self._fits[tuple(sample)] = np.array(
                [(not reads.any() or (reads & here).any()) and (asks & here).any() for reads, asks in self._uses]
            )
        if fits[component]:
            return component
        weights = np.array([c.weight for c in self.config.components]) * fits
        if not weights.any():
            raise DataError(f"no component of the masking reads and predicts any of {', '.join(sample) or 'nothing'}")
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def __call__(
        self,
        sample: Mapping[str, np.ndarray],
        rng: np.random.Generator,
        component: int | None = None,
        concentrations: Concentrations | None = None,
    ) -> Packed:
        """Select tokens of a sample, as `chosen` does, and pack them."""
        return pack(self.layout, self.chosen(sample, rng, component, concentrations))

    def chosen(
        self,
        sample: Mapping[str, np.ndarray],
        rng: np.random.Generator,
        component: int | None = None,
        concentrations: Concentrations | None = None,
    ) -> list[Chosen]:
        """Select tokens of a sample.

        Args:
            sample: ids or rows by stream name.
            rng: decides which.
            component: of the mixture; None draws one.
            concentrations: those of the component, with draws for this sample; None makes them.
        """
        which = self.component(rng) if component is None else component
        if concentrations is None:
            (concentrations,) = self.concentrations(which, rng)
        inputs, targets = self.budgets(sample, concentrations, which, rng)
        return self.select(sample, concentrations, inputs, targets, which, rng)

    def concentrations(self, component: int, rng: np.random.Generator, count: int = 1) -> list[Concentrations]:
        """The concentrations of a component, with draws for each of `count` samples."""
        inputs, targets = self._alphas[component]
        return [
            Concentrations(inputs.values, targets.values, *draws) for draws in Gammas.pairs(inputs, targets, rng, count)
        ]

    def budgets(
        self, sample: Mapping[str, np.ndarray], concentrations: Concentrations, component: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Input and target budgets of a sample by stream, in the order of the layout."""
        config = self.config
        least, most = config.components[component].input_tokens or (config.input_tokens, config.input_tokens)
        total = least + (int(rng.random() * (most - least + 1)) if most > least else 0)
        return config.scheme.budgets(self._streams, sample, concentrations, total, config.target_tokens, rng)

    def select(
        self,
        sample: Mapping[str, np.ndarray],
        concentrations: Concentrations,
        input_budgets: np.ndarray,
        target_budgets: np.ndarray,
        component: int,
        rng: np.random.Generator,
    ) -> list[Chosen]:
        """Tokens of a sample within its budgets by stream."""
        keeps, chunks = self.config.components[component].keep, self.config.chunks

        def select(stream: Stream, inputs: int, targets: int) -> Chosen:
            keep, chunk = keeps.get(stream.name, "random"), chunks.get(stream.name, 1)
            if targets and not inputs and stream.name in self._unseen:
                inputs, keep = 1, "none"  # one [S_1], as the encoder reads when the sequence is generated
            return select_stream(stream, sample[stream.name], inputs, targets, keep, chunk, rng)

        return self.config.scheme.select(
            self._streams, sample, concentrations, input_budgets, target_budgets, select, rng
        )


def can_hide(stream: Stream) -> bool:
    """Whether a stream is a sequence of which the encoder can read that it is hidden."""
    return stream.is_sequence and stream.input and not stream.is_dense


@attrs.frozen
class Roles:
    """Masks by fixed roles, as published: `inputs` are read whole, `targets` predicted whole (stream names)."""

    layout: Layout
    inputs: Collection[str]
    targets: Collection[str]

    def __call__(self, sample: Mapping[str, np.ndarray], rng: np.random.Generator | None = None) -> Packed:
        """The packed sample; nothing is drawn."""
        return pack(self.layout, self.select(sample))

    def select(self, sample: Mapping[str, np.ndarray]) -> list[Selection]:
        """Every stream of the sample that has a role."""
        rng = np.random.default_rng(0)
        return [
            self._role(stream, sample[stream.name], rng)
            for stream in self.layout.streams
            if stream.name in sample and (stream.name in self.inputs or stream.name in self.targets)
        ]

    def _role(self, stream: Stream, value: np.ndarray, rng: np.random.Generator) -> Selection:
        given, space = stream.name in self.inputs, stream.space
        if stream.is_sequence and not stream.is_dense:
            assert isinstance(space, TokenSpace)
            budget = len(value) if given else 0
            read, said = select_sequence(value, budget, None, "all", space, rng)
            return Selection(stream, read, np.arange(len(read)), said, np.arange(len(said)))
        places = np.arange(len(value))
        if given:
            return Selection(stream, value, places, NONE, NONE)
        return Selection(stream, value[:0], NONE, value, places)
