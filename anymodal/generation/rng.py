"""The choices of one sample, random ones and others."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class SampleRng:
    """The choices of one sample, from a generator of its own: what others in the batch do changes nothing.

    A subclass may make them otherwise, such as replaying recorded ones.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def order(self, positions: np.ndarray) -> np.ndarray:
        """The positions (n,) of a grid in the order in which they are decided."""
        return positions[torch.randperm(len(positions), generator=self._generator).numpy()]

    def uniform(self, count: int) -> Tensor:
        """Numbers (count,) in [0, 1) on the CPU, with which ids are drawn."""
        return torch.rand(count, generator=self._generator)

    def choose(self, ids: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
        """Which `count` of the predicted ids (n,) are kept: the most confident, the first of equals."""
        return np.argsort(-confidence, kind="stable")[:count]

    def branch(self, count: int) -> list[SampleRng]:
        """Independent choices for several draws from the same inputs."""
        if count == 1:
            return [self]
        return [SampleRng(int(s)) for s in torch.randint(2**62, (count,), generator=self._generator)]
