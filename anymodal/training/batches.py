"""Packed batches of a tokenised dataset."""

from __future__ import annotations

import numpy as np

from anymodal.data.steps import EpochOrder
from anymodal.data.tokenized import TokenStore
from anymodal.masking import Masker
from anymodal.tokens import Packed, collate


class MaskedBatches:
    """Packed batches of a tokenised dataset; batch `step` is a pure function of the seed and the step.

    All samples of a batch share the component of the mixture, so that they are of similar length.
    """

    def __init__(self, store: TokenStore, masker: Masker, batch_size: int, seed: int) -> None:
        self.store, self.masker, self.seed = store, masker, seed
        self.order = EpochOrder(len(store), batch_size, seed)

    def __call__(self, step: int) -> Packed:
        component = self.masker.component(np.random.default_rng([self.seed, step]))
        packed = [
            self.masker(self.store.sample(index), np.random.default_rng([self.seed, step, row]), component)
            for row, index in enumerate(self.order(step))
        ]
        return collate(packed, self.masker.layout)
