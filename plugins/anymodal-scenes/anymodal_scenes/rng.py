"""Where all randomness of the scenes comes from: a hash of a key, stepped by SplitMix64, the same on every machine.

Only integer arithmetic and one exact division are involved, so no library update can change a scene.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
_BITS = (1 << 64) - 1


class Stream:
    """An endless stream of numbers that depends on nothing but its key."""

    def __init__(self, *key: object) -> None:
        self._key = key
        text = "/".join(str(part) for part in key).encode()
        self._state = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")

    def fork(self, name: str) -> Stream:
        """A stream of its own for one concern, so that draws elsewhere do not disturb it."""
        return Stream(*self._key, name)

    def random(self) -> float:
        """The next number of [0, 1), a multiple of 2**-53 (SplitMix64: Steele, Lea and Flood, 2014)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _BITS
        word = self._state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _BITS
        return ((word ^ (word >> 31)) >> 11) / (1 << 53)

    def uniform(self, low: float, high: float) -> float:
        """A number of [low, high)."""
        return low + (high - low) * self.random()

    def bell(self, spread: float) -> float:
        """A bell-shaped number about 0 with standard deviation `spread`, within 3.5 of them (sum of four uniforms)."""
        return spread * 3**0.5 * (self.random() + self.random() + self.random() + self.random() - 2)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.random() * len(options))]

    def weigh(self, options: Mapping[T, float]) -> T:
        """One of the keys, as likely as its weight among all weights."""
        left = self.random() * sum(options.values())
        for option, weight in options.items():
            left -= weight
            if left < 0:
                return option
        return next(reversed(list(options)))

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in a random order."""
        return [option for _, _, option in sorted((self.random(), i, option) for i, option in enumerate(options))]
