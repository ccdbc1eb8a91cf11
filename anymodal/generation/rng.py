"""The choices of one sample, random ones and others."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from copy import copy
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from anymodal.errors import ConfigError, GenerationError, brief, counted

TORCH_BITS = 32  # of a seed that PyTorch's generator on the CPU looks at


def sample_seeds(seed: object, count: int | None = None) -> list[int]:
    """The seed of each of `count` samples: `seed` + i, or the i-th of a sequence; without a count as many as are given.

    Raises:
        ConfigError: a seed is no whole number.
        GenerationError: there are not as many seeds as samples.
    """
    if not _several(seed):
        return [_whole(seed) + i for i in range(1 if count is None else count)]
    wanted = max(len(seed), 1) if count is None else count
    if len(seed) != wanted:
        raise GenerationError(
            f"{counted(len(seed), 'seed')} for {counted(wanted, 'sample')}; give one each, or a single number"
        )
    return [_whole(each) for each in seed]


def _several(seed: object) -> TypeGuard[Sequence[object]]:
    """Whether seeds are given one by one: in a list, a range or an array (n,)."""
    if isinstance(seed, np.ndarray):
        return seed.ndim == 1
    return isinstance(seed, Sequence) and not isinstance(seed, (str, bytes))


def _whole(seed: object) -> int:
    try:
        return operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(f"a seed is a whole number, got {brief(seed)}") from None


def torch_seed(seed: int) -> int:
    """A seed that PyTorch's generator tells from others: one of more than 32 bits, or below 0, by its hash."""
    if 0 <= seed < 2**TORCH_BITS:
        return seed
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[: TORCH_BITS // 8], "big")


class SampleRng:
    """The choices of one sample, from a generator of its own: what others in the batch do changes nothing.

    A subclass may make them otherwise, such as replaying recorded ones.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(torch_seed(seed))

    def copy(self) -> SampleRng:
        """One that makes the same choices from here on."""
        twin = copy(self)
        twin._generator = self._generator.clone_state()
        return twin

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
        seeds = torch.randint(2**62, (count,), generator=self._generator) % 2**TORCH_BITS
        return [SampleRng(int(seed)) for seed in seeds]
