"""Packed tokens: exactly the selected ones of a sample, with nothing in between.

A token travels as three numbers (row of the vocabulary, row of the position table, stream); dense streams bring rows
of numbers and the slots where they belong. Model, trainer and sampler see only this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.spaces import DenseSpace
from anymodal.tokens.layout import Layout

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

NO_LABEL = -100


@attrs.frozen(eq=False)
class DenseRows:
    """Rows of a dense stream.

    values (B, R, width) float32: the numbers; (R, width) in a single sample.
    slots (B, R) int64: which of the N input tokens each row is; N for padding.
    """

    values: Any
    slots: Any


@attrs.frozen(eq=False)
class Inputs:
    """Packed input tokens: tensors (B, N) int64, or arrays (N,) in a single sample.

    ids: rows of the input table (`Layout.inputs`), not ids of the stream; 0 for dense rows and padding.
    positions: rows of the position table (`Layout.positions`), not places in the stream.
    streams: indices of streams (`Layout.index`); -1 is padding.
    dense: the rows of dense streams by stream name.
    """

    ids: Any
    positions: Any
    streams: Any
    dense: Mapping[str, DenseRows] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Targets:
    """Packed target tokens: tensors (B, M) int64, or arrays (M,) in a single sample.

    ids: what the decoder is fed: rows of the query table (`Layout.queries`); 0 is the learned query of grids.
    positions: rows of the position table (`Layout.positions`).
    streams: indices of streams (`Layout.index`); -1 is padding.
    reach: bounds self-attention: token i attends to tokens j < reach[i] of its own stream, which is "all of them" for
        grids and "up to itself" for sequences.
    labels: the ids to predict, within the stream's own space; -100 for none.
    """

    ids: Any
    positions: Any
    streams: Any
    reach: Any
    labels: Any


@attrs.frozen(eq=False)
class Packed:
    """One sample (arrays of shape (N,)) or a batch (tensors (B, N)) of inputs and targets."""

    inputs: Inputs
    targets: Targets | None = None

    def to(self, device: torch.device | str) -> Packed:
        def move(x: Any) -> Any:
            if isinstance(x, dict):
                return {k: move(v) for k, v in x.items()}
            if attrs.has(type(x)):
                return type(x)(**{f.name: move(getattr(x, f.name)) for f in attrs.fields(type(x))})
            return x.to(device, non_blocking=True) if isinstance(x, torch.Tensor) else x

        return move(self)


class Packer:
    """Builds one packed sample, stream by stream; each stream is added at most once a side."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._inputs: list[tuple[Any, Any, int]] = []
        self._targets: list[tuple[Any, Any, int, Any, Any]] = []
        self._dense: dict[str, DenseRows] = {}
        self._used = 0
        self._reach = 0

    def add_input(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Input tokens `ids` (n,), in the stream's own space, at `positions` (n,) of its table."""
        block = self.layout.inputs[name]
        self._append(name, np.asarray(ids, np.int64) + block.start, positions)

    def add_dense(self, name: str, rows: np.ndarray, positions: np.ndarray) -> None:
        """Rows (n, width) of a dense stream at `positions` (n,)."""
        slots = np.arange(self._used, self._used + len(rows))
        self._dense[name] = DenseRows(np.asarray(rows, np.float32), slots)
        self._append(name, np.zeros(len(rows), np.int64), positions)

    def _append(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        where = np.asarray(positions, np.int64) + self.layout.positions[name].start
        self._inputs.append((ids, where, self.layout.index[name]))
        self._used += len(ids)

    def add_grid_target(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Ids to predict at grid positions; all of them see each other."""
        where = np.asarray(positions, np.int64) + self.layout.positions[name].start
        self._reach += len(where)
        reach = np.full(len(where), self._reach)
        self._targets.append((np.zeros(len(where), np.int64), where, self.layout.index[name], reach, ids))

    def add_sequence_target(self, name: str, ids: np.ndarray) -> None:
        """A target sequence (n,): n - 1 predictions, each from what comes before it."""
        fed = np.asarray(ids[:-1], np.int64) + self.layout.queries[name].start
        where = self.layout.target_rows(name, np.arange(len(fed)))
        reach = self._reach + 1 + np.arange(len(fed))
        self._reach += len(fed)
        self._targets.append((fed, where, self.layout.index[name], reach, ids[1:]))

    def pack(self) -> Packed:
        """The sample so far."""
        ids, positions, streams = _columns(self._inputs, 3)
        return Packed(Inputs(ids, positions, streams, self._dense), Targets(*_columns(self._targets, 5)))


def _columns(parts: Sequence[tuple[Any, ...]], count: int) -> list[np.ndarray]:
    """The parts joined column by column; the third entry is a stream index that is repeated along its part."""
    if not parts:
        return [np.zeros(0, np.int64)] * count
    columns = list(zip(*parts, strict=True))
    streams = np.repeat(np.array(columns[2], np.int64), [len(ids) for ids in columns[0]])
    joined = [np.concatenate(columns[k]).astype(np.int64, copy=False) for k in (0, 1, *range(3, count))]
    return [*joined[:2], streams, *joined[2:]]


def _pad(arrays: Sequence[np.ndarray], length: int, fill: int) -> torch.Tensor:
    out = np.full((len(arrays), length), fill, np.int64)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(out)


def collate(samples: Sequence[Packed], layout: Layout, input_tokens: int = 0, target_tokens: int = 0) -> Packed:
    """Stack samples into one batch, padded to the given lengths, or to the longest sample where that is longer.

    Dense rows of a stream are padded to the longest too; padding rows point at slot N, one past the last.
    """
    n = max([input_tokens, *(len(s.inputs.ids) for s in samples)])
    dense = {}
    for stream in layout.streams:
        parts = [s.inputs.dense.get(stream.name) for s in samples]
        if stream.is_dense and any(parts):
            assert isinstance(stream.space, DenseSpace)
            most = max(len(p.slots) for p in parts if p)
            values = np.zeros((len(samples), most, stream.space.width), np.float32)
            slots = np.full((len(samples), most), n, np.int64)
            for b, part in enumerate(parts):
                if part:
                    values[b, : len(part.slots)] = part.values
                    slots[b, : len(part.slots)] = part.slots
            dense[stream.name] = DenseRows(torch.from_numpy(values), torch.from_numpy(slots))
    inputs = Inputs(
        _pad([s.inputs.ids for s in samples], n, 0),
        _pad([s.inputs.positions for s in samples], n, 0),
        _pad([s.inputs.streams for s in samples], n, -1),
        dense,
    )
    targets = [s.targets for s in samples]
    if any(t is None for t in targets):
        return Packed(inputs)
    m = max([target_tokens, *(len(t.ids) for t in targets if t)])
    fills = {"ids": 0, "positions": 0, "streams": -1, "reach": 0, "labels": NO_LABEL}
    return Packed(inputs, Targets(**{k: _pad([getattr(t, k) for t in targets], m, fill) for k, fill in fills.items()}))
