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
        self._inputs: list[tuple[int, int, Any, int, Any]] = []  # tokens, first id row, ids, first position row, places
        self._targets: list[tuple[int, int, Any, int, Any, Any]] = []  # and labels; no ids for a grid
        self._input_streams: list[int] = []
        self._target_streams: list[int] = []
        self._dense: dict[str, DenseRows] = {}
        self._used = 0

    def add_input(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Input tokens `ids` (n,), in the stream's own space, at `positions` (n,) of its table."""
        self._append(name, self.layout.inputs[name].start, ids, len(ids), positions)

    def add_dense(self, name: str, rows: np.ndarray, positions: np.ndarray) -> None:
        """Rows (n, width) of a dense stream at `positions` (n,)."""
        slots = np.arange(self._used, self._used + len(rows))
        self._dense[name] = DenseRows(np.asarray(rows, np.float32), slots)
        self._append(name, 0, 0, len(rows), positions)

    def _append(self, name: str, first: int, ids: Any, count: int, positions: np.ndarray) -> None:
        self._inputs.append((count, first, ids, self.layout.positions[name].start, positions))
        self._input_streams.append(self.layout.index[name])
        self._used += count

    def add_grid_target(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Ids to predict at grid positions; all of them see each other."""
        self._targets.append((len(ids), 0, None, self.layout.positions[name].start, positions, ids))
        self._target_streams.append(self.layout.index[name])

    def add_sequence_target(self, name: str, ids: np.ndarray) -> None:
        """A target sequence (n,): n - 1 predictions, each from what comes before it."""
        where = self.layout.target_rows(name, np.arange(len(ids) - 1))
        self._targets.append((len(ids) - 1, self.layout.queries[name].start, ids[:-1], 0, where, ids[1:]))
        self._target_streams.append(self.layout.index[name])

    def pack(self) -> Packed:
        """The sample so far."""
        return Packed(self._packed_inputs(), self._packed_targets())

    def _packed_inputs(self) -> Inputs:
        ids, positions, streams = np.empty((3, self._used), np.int64)
        start = 0
        for (count, first_id, part, first_position, where), stream in zip(
            self._inputs, self._input_streams, strict=True
        ):
            end = start + count
            np.add(part, first_id, out=ids[start:end], dtype=np.int64)
            np.add(where, first_position, out=positions[start:end], dtype=np.int64)
            streams[start:end] = stream
            start = end
        return Inputs(ids, positions, streams, self._dense)

    def _packed_targets(self) -> Targets:
        total = sum([part[0] for part in self._targets])
        out = np.empty((5, total), np.int64)
        ids, positions, streams, reach, labels = out
        reach[:] = np.arange(1, total + 1)  # what a sequence sees: up to itself
        start = 0
        for (count, first_id, fed, first_position, where, wanted), stream in zip(
            self._targets, self._target_streams, strict=True
        ):
            end = start + count
            if fed is None:
                ids[start:end] = 0
                reach[start:end] = end
            else:
                np.add(fed, first_id, out=ids[start:end], dtype=np.int64)
            np.add(where, first_position, out=positions[start:end], dtype=np.int64)
            streams[start:end] = stream
            labels[start:end] = wanted
            start = end
        return Targets(*out)


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
