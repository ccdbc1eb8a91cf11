"""Packed batches of a mixture of datasets, as a pure function of the seed and the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch

from anymodal.data.mixture import Mixture
from anymodal.data.order import generator
from anymodal.data.report import problem_line
from anymodal.data.sources.base import Source, open_source
from anymodal.errors import ConfigError, DataError
from anymodal.masking import Masker
from anymodal.tokens import ModalitySet, Packed, collate
from anymodal.training.multimodal.config import TrainConfig

TRIES = 20  # unusable samples in a row
LONGEST_LINE = 400


@attrs.frozen
class Share:
    """Which part of every batch is made here: process `rank` of `world`, each of which takes its share in `parts`."""

    rank: int = 0
    world: int = 1
    parts: int = 1

    def check(self, batch_size: int) -> None:
        """Raise ConfigError if a batch has fewer samples than there are parts."""
        if batch_size < self.world * self.parts:
            raise ConfigError(
                f"a batch of {batch_size} samples cannot be shared by {self.world} processes in {self.parts} parts"
            )

    def rows(self, batch_size: int, part: int) -> range:
        """The rows of the whole batch that make up a part of ours; contiguous, and all equally long if that fits."""
        piece, pieces = self.rank * self.parts + part, self.world * self.parts
        return range(batch_size * piece // pieces, batch_size * (piece + 1) // pieces)


@attrs.frozen(eq=False)
class Batch:
    """A packed batch, and a line for each sample that could not be used: where it lies and what is wrong with it."""

    packed: Packed
    problems: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.packed.to(device), self.problems)


@attrs.frozen(eq=False)
class Supply:
    """A dataset of a run: its samples, their order, and how they are masked; `own` masking draws its own components."""

    path: str
    source: Source
    order: Callable[[int], int]
    masker: Masker
    own: bool = False


class MaskedBatches:
    """Packed batches of a mixture of datasets: `batches(n)` is part n % parts of our share in step n // parts.

    What a step is made of depends on the seed and the step alone, not on the number of processes and parts. All samples
    of a step share the component of the mixture, so that they are of similar length; one that the component finds
    nothing to read or to predict in draws another. A sample that cannot be used is replaced by another one of its
    dataset, and told of in the batch.
    """

    def __init__(
        self, supplies: Sequence[Supply], mixture: Mixture, batch_size: int, seed: int, share: Share = Share()
    ) -> None:
        share.check(batch_size)
        self.supplies, self.mixture, self.seed = list(supplies), mixture, seed
        self.batch_size, self.share = batch_size, share
        self.layout = self.supplies[0].masker.layout

    def __call__(self, n: int, component: int | None = None) -> Batch:
        """Part `n`, by the component of the mixture that is drawn for its step, or by the given one."""
        step, part = divmod(n, self.share.parts)
        components = [self._component(supply, k, step, component) for k, supply in enumerate(self.supplies)]
        problems: list[str] = []
        packed = [self._row(step, row, components, problems) for row in self.share.rows(self.batch_size, part)]
        return Batch(collate(packed, self.layout), tuple(problems))

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """Tokens by stream of a sample of the first dataset, the same every time."""
        return self.supplies[0].source.sample(index, generator(self.seed, "sample", index))

    def _component(self, supply: Supply, number: int, step: int, given: int | None) -> int:
        if supply.own:
            return supply.masker.component(generator(self.seed, "masking", step, number + 1))
        return supply.masker.component(generator(self.seed, "masking", step)) if given is None else given

    def _row(self, step: int, row: int, components: Sequence[int], problems: list[str]) -> Packed:
        """The sample in a row of the whole batch of a step."""
        dataset, rank = self.mixture(step * self.batch_size + row)
        supply = self.supplies[dataset]
        index = supply.order(rank)
        for attempt in range(TRIES):
            rng = generator(self.seed, "row", step, row, attempt)
            if attempt:  # not a neighbor: a damaged shard is bad in a row
                index = int(rng.integers(len(supply.source)))
            try:
                sample = supply.source.sample(index, rng)
                return supply.masker(sample, rng, supply.masker.fitting(sample, components[dataset], rng))
            except Exception as error:  # damaged files make libraries and plugins fail in many ways
                problems.append(problem_line(supply.source.describe(index), error)[:LONGEST_LINE])
        raise DataError(f"{TRIES} samples of {supply.path} in a row cannot be used; the last one: {problems[-1]}")


def build_batches(
    config: TrainConfig, modalities: ModalitySet, share: Share = Share(), *, complete: bool = True
) -> MaskedBatches:
    """The batches of a run. Raises DataError if the datasets do not fit the modalities, and together lack a stream.

    Without `complete` they may lack some.
    """
    seed, layout = config.training.seed, modalities.layout
    masker = Masker(layout, config.masking)
    supplies = []
    for number, data in enumerate(config.data):
        source = open_source(data, modalities)
        own = None if data.masking is None else Masker(layout, data.masking)
        supplies.append(Supply(data.path, source, source.order(seed + number), own or masker, own is not None))
    for stream in layout.streams if complete else ():
        if not any(stream.name in supply.source.streams for supply in supplies):
            paths = " and ".join(supply.path for supply in supplies)
            raise DataError(f"{paths} has no stream {stream.name!r}; add it to the data, or leave it out of the set")
    return MaskedBatches(
        supplies, Mixture([d.weight for d in config.data], seed), config.training.batch_size, seed, share
    )
