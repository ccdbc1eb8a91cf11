"""Orders and batches as pure functions of the position: what makes a run repeatable, and resumable at any step."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from anymodal.errors import ConfigError, counted


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Random numbers that depend on the seed, on what they are for, and on numbers such as a step."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


class Generators:
    """Random numbers at places of a run, which depend on the seed, on what they are for and on the place alone.

    A place is up to three numbers, such as a step and a row. One generator is set to each in turn, by the counter of
    Philox (Salmon et al., SC 2011): that takes a tenth of the time of a new generator. Keep none beyond the next call.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        key = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(2, np.uint64)
        self._bits = np.random.Philox(key=key)
        self._rng, self._state = np.random.Generator(self._bits), self._bits.state
        self._counter: np.ndarray = self._state["state"]["counter"]

    def __call__(self, *place: int) -> np.random.Generator:
        """The generator, at the start of the numbers of a place."""
        self._counter[1 : 1 + len(place)] = place  # the first one counts what was drawn
        self._counter[1 + len(place) :] = 0
        self._bits.state = self._state
        return self._rng


class Shuffled:
    """An endless order of `count` samples: every epoch is a new permutation, drawn from (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __call__(self, position: int) -> int:
        """The sample at a position."""
        epoch, offset = divmod(position, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._permutation(epoch)
        return int(self._order[offset])

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_epoch": -1, "_order": np.empty(0, np.int64)}  # as large as the dataset


class ShuffledShards(Shuffled):
    """An endless order in which samples of up to `opened` shards are mixed with one another, shards in a new order each
    epoch: whoever keeps so many shards open opens each of them once an epoch.

    `sizes` are the numbers of samples of the shards.
    """

    def __init__(self, sizes: Sequence[int], opened: int, seed: int) -> None:
        super().__init__(sum(sizes), seed)
        self._sizes, self._opened = np.asarray(sizes), opened

    def _permutation(self, epoch: int) -> np.ndarray:
        if len(self._sizes) <= self._opened:
            return super()._permutation(epoch)
        rng = generator(self.seed, "shards", epoch)
        ends = self._sizes.cumsum()
        samples = [np.arange(end - size, end) for size, end in zip(self._sizes, ends, strict=True)]
        shards = rng.permutation(len(samples))
        parts = [shards[k : k + self._opened] for k in range(0, len(shards), self._opened)]
        return np.concatenate([rng.permutation(np.concatenate([samples[k] for k in part])) for part in parts])


class ShuffledRuns(Shuffled):
    """An endless order in which runs of up to `run` neighbors of a shard stay together.

    Every epoch cuts the shards (of `sizes` samples) elsewhere and puts the runs of all of them in a new order.
    """

    def __init__(self, sizes: Sequence[int], run: int, seed: int) -> None:
        super().__init__(sum(sizes), seed)
        self._sizes, self._run = list(sizes), run

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = generator(self.seed, "runs", epoch)
        starts, base = [], 0
        for size in self._sizes:
            first = int(rng.integers(1, self._run + 1))
            starts.append(base + np.concatenate([[0], np.arange(first, size, self._run)]))
            base += size
        begin = np.concatenate(starts)
        lengths = np.diff(np.append(begin, base))
        runs = rng.permutation(len(begin))
        begin, lengths = begin[runs], lengths[runs]
        return np.repeat(begin - (np.cumsum(lengths) - lengths), lengths) + np.arange(base)


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
                f"a batch of {counted(batch_size, 'sample')} cannot be shared by {self.world} processes"
                f" in {self.parts} parts"
            )

    def rows(self, batch_size: int, part: int) -> range:
        """The rows of the whole batch that make up a part of ours; contiguous, and all equally long if that fits."""
        piece, pieces = self.rank * self.parts + part, self.world * self.parts
        return range(batch_size * piece // pieces, batch_size * (piece + 1) // pieces)


class EpochOrder:
    """Which samples belong to a step: every epoch is a new permutation, drawn from (seed, epoch)."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.batch_size, self._at = batch_size, Shuffled(count, seed)

    def __call__(self, step: int) -> list[int]:
        """Indices of the batch; batches run on across the borders of epochs."""
        start = step * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]


class _Steps:
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Any:
        return self.make(step)


def step_batches(make: Callable[[int], Any], steps: int, workers: int = 0) -> Callable[[int], Iterator[Any]]:
    """A factory of batches make(start), make(start + 1), ... for `Engine.run`, made by `workers` processes."""
    from torch.utils.data import DataLoader

    def batches(start: int) -> Iterator[Any]:
        loader: DataLoader[Any] = DataLoader(
            _Steps(make),  # type: ignore[arg-type]  # anything with __getitem__
            batch_size=None,
            sampler=range(start, steps),
            num_workers=workers,
            worker_init_fn=_leave_signals_to_the_parent,
        )
        return iter(loader)

    return batches


def _leave_signals_to_the_parent(worker: int) -> None:
    """The process that trains decides when a run ends; a signal to its whole group must not cut off its data."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
