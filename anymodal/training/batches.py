"""Packed batches of tokenised samples, as a pure function of the seed and the step."""

from __future__ import annotations

import attrs
import numpy as np
import torch

from anymodal.data.steps import EpochOrder
from anymodal.data.tokenized import TokenStore
from anymodal.errors import ConfigError, DataError
from anymodal.masking import Masker
from anymodal.tokens import ModalitySet, Packed, collate
from anymodal.training.config import TrainConfig


@attrs.frozen
class Share:
    """Which part of every batch is made here: process `rank` of `world`, each of which takes its share in `parts`."""

    rank: int = 0
    world: int = 1
    parts: int = 1

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


class MaskedBatches:
    """Packed batches of a tokenised dataset: `batches(n)` is part n % parts of our share in step n // parts.

    What a step is made of depends on the seed and the step alone, not on the number of processes and parts. All samples
    of a step share the component of the mixture, so that they are of similar length.
    """

    def __init__(self, store: TokenStore, masker: Masker, batch_size: int, seed: int, share: Share = Share()) -> None:
        if batch_size < share.world * share.parts:
            raise ConfigError(
                f"a batch of {batch_size} samples cannot be shared by {share.world} processes in {share.parts} parts"
            )
        self.store, self.masker, self.seed = store, masker, seed
        self.batch_size, self.share = batch_size, share
        self.order = EpochOrder(len(store), batch_size, seed)

    def __call__(self, n: int, component: int | None = None) -> Batch:
        """Part `n`, by the component of the mixture that is drawn for its step, or by the given one."""
        step, part = divmod(n, self.share.parts)
        if component is None:
            component = self.masker.component(np.random.default_rng([self.seed, step]))
        indices = self.order(step)
        packed = [
            self.masker(self.store.sample(indices[row]), np.random.default_rng([self.seed, step, row]), component)
            for row in self.share.rows(self.batch_size, part)
        ]
        return Batch(collate(packed, self.masker.layout))


def build_batches(config: TrainConfig, modalities: ModalitySet, share: Share = Share()) -> MaskedBatches:
    """The batches of a run. Raises DataError if the dataset does not fit the modalities."""
    store = TokenStore(config.data)
    for stream in modalities.layout.streams:
        stored = store.streams.get(stream.name)
        if stored is None:
            raise DataError(f"{config.data} has no stream {stream.name!r}; tokenise it with the same modalities")
        if stored["space"]["length"] < stream.space.length and not stream.is_sequence:
            raise DataError(f"{config.data} has another size of {stream.name!r}: tokenise it with these tokenizers")
    masker = Masker(modalities.layout, config.masking)
    return MaskedBatches(store, masker, config.training.batch_size, config.training.seed, share)
