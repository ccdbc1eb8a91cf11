"""Packed batches of a mixture of datasets, as a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch

from anymodal.data.mixture import Mixture
from anymodal.data.order import Generators, Share, generator
from anymodal.data.replacing import Replacing
from anymodal.data.sources.base import Source
from anymodal.masking import Chosen, Concentrations, Masker, packed_batch
from anymodal.tokens import NO_LABEL, Packed

DRAWN = 8  # rows whose first draws of budgets are made in one call


@attrs.frozen(eq=False)
class Batch:
    """A packed batch, and a line for each sample that could not be used: where it lies and what is wrong with it."""

    packed: Packed
    problems: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.packed.to(device), self.problems)


@attrs.frozen(eq=False)
class MixtureEntry:
    """A dataset of a mixture: its samples, their order, and their masking; an `own` one draws its own components."""

    path: str
    source: Source
    order: Callable[[int], int]
    masker: Masker
    own: bool = False


class MaskedBatches:
    """Packed batches of a mixture of datasets: `batches(n)` is part n % parts of our share in step n // parts.

    What a step is made of depends on the seed and the step alone, not on the number of processes and parts. All samples
    of a step share the component of the masking, so that they are of similar length; one that the component finds
    nothing to read or to predict in draws another. A sample that cannot be used is replaced by another one of its
    dataset, and named in the batch.

    Args:
        entries: the datasets; they share a layout of tokens.
        mixture: which of them stands at a position, with weights in the order of `entries`.
        batch_size: samples of a step, over all processes and parts.
        seed: what orders, crops and masks are drawn from.
        share: the part of a step that this process makes.

    Raises:
        ConfigError: a batch has fewer samples than there are parts.
    """

    def __init__(
        self,
        entries: Sequence[MixtureEntry],
        mixture: Mixture,
        batch_size: int,
        seed: int,
        share: Share = Share(),  # noqa: B008
    ) -> None:
        share.check(batch_size)
        self.entries, self.mixture, self.seed = list(entries), mixture, seed
        self.batch_size, self.share = batch_size, share
        self._numbers, self._budgets = Generators(seed, "row"), Generators(seed, "budgets")
        self._ahead: tuple[tuple[int, ...], list[Concentrations]] = (), []
        self.layout = self.entries[0].masker.layout
        self._replacing = [
            Replacing(each.path, len(each.source), each.source.describe, f"{each.path} has no samples")
            for each in self.entries
        ]

    def __call__(self, n: int) -> Batch:
        """Part `n`, by the component of the masking that is drawn for its step."""
        return self._batch(n, None)[0]

    def measured(self, n: int, component: int | None) -> Batch:
        """Part `n` to measure one component by: only samples that are masked by it have something to predict.

        Those that it does not fit have not, nor those of datasets with components of their own; these alone have for
        None.
        """
        batch, masked_by = self._batch(n, component)
        assert batch.packed.targets is not None
        others = torch.tensor([each != component for each in masked_by])
        batch.packed.targets.labels[others] = NO_LABEL
        return batch

    def _batch(self, n: int, component: int | None) -> tuple[Batch, list[int | None]]:
        """Part `n`, and by which component each sample is masked; None for one of its dataset's own."""
        step, part = divmod(n, self.share.parts)
        components = [self._component(entry, k, step, component) for k, entry in enumerate(self.entries)]
        problems: list[str] = []
        self._ahead = (), []  # whose draws are used up
        rows = [self._row(step, row, components, problems) for row in self.share.rows(self.batch_size, part)]
        packed = packed_batch(self.layout, [chosen for chosen, _ in rows])
        return Batch(packed, tuple(problems)), [which for _, which in rows]

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """Tokens by stream of a sample of the first dataset, the same every time."""
        return self.entries[0].source.sample(index, generator(self.seed, "sample", index))

    def _component(self, entry: MixtureEntry, number: int, step: int, given: int | None) -> int:
        if entry.own:
            return entry.masker.component(generator(self.seed, "masking", step, number + 1))
        return entry.masker.component(generator(self.seed, "masking", step)) if given is None else given

    def _row(
        self, step: int, row: int, components: Sequence[int], problems: list[str]
    ) -> tuple[list[Chosen], int | None]:
        """What is selected of the sample in a row of the whole batch of a step, and by which component, as above."""
        dataset, rank = self.mixture(step * self.batch_size + row)
        entry = self.entries[dataset]

        def read(index: int, rng: np.random.Generator) -> tuple[list[Chosen], int | None]:
            sample = entry.source.sample(index, rng)
            which = entry.masker.fitting(sample, components[dataset], rng)
            drawn = self._concentrations(dataset, which, step, row) if which == components[dataset] else None
            chosen = entry.masker.chosen(sample, rng, which, drawn and drawn.continued(rng))
            return chosen, None if entry.own else which

        return self._replacing[dataset].read(
            read, entry.order(rank), lambda failed: self._numbers(step, row, failed), problems
        )

    def _concentrations(self, dataset: int, component: int, step: int, row: int) -> Concentrations:
        """The draws of budgets of a row, which depend on neither the share of the batch nor the rows before."""
        entry = self.entries[dataset]
        block, number = divmod(row, DRAWN)
        key = (dataset if entry.own else -1, component, step, block)
        if key != self._ahead[0]:
            rng = self._budgets(step, block, key[0] + 1)
            self._ahead = key, entry.masker.concentrations(component, rng, DRAWN)
        return self._ahead[1][number]
