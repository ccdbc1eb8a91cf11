"""Packing what was selected of all samples of a batch at once: what `collate` of each sample's `pack` is, but faster.

Single samples have tens of tokens of a stream; most of the time of an array of that size is its call. Shapes: E
selections, of all samples one after the other; T tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anymodal.masking.selection import Chosen, GridSelection, Selection
from anymodal.spaces import DenseSpace
from anymodal.tokens import NO_LABEL, DenseRows, Inputs, Layout, Packed, Targets
from anymodal.tokens.layout import JointTable

if TYPE_CHECKING:
    import torch
else:
    from anymodal.lazy import torch


def packed_batch(layout: Layout, samples: Sequence[Sequence[Chosen]]) -> Packed:
    """The batch of what was selected of each sample, as `collate([pack(layout, each) for each in samples], layout)`."""
    chosen = [each for sample in samples for each in sample]
    owner = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    stream = np.array([layout.index[each.stream.name] for each in chosen], np.int64)
    read = np.array([each.read if isinstance(each, GridSelection) else len(each.inputs) for each in chosen], np.int64)
    asked = np.array([each.predictions for each in chosen], np.int64)
    grids = _worked_out(chosen)
    first = _first(layout, "positions")
    inputs, targets = (_Side(_Places(owner, n, len(samples)), stream, first) for n in (read, asked))
    return Packed(_inputs(layout, chosen, grids, inputs), _targets(layout, chosen, grids, targets))


def _first(layout: Layout, table: str) -> np.ndarray:
    """The first rows of each stream (streams,) in a joint table; 0 where it is not in it."""
    blocks: JointTable = getattr(layout, table)
    return np.array([blocks[s.name].start if s.name in blocks else 0 for s in layout.streams], np.int64)


class _Grids:
    """Which positions of grids of one length are inputs, and which targets, and their ids.

    entries: numbers of the selections (e,).
    """

    def __init__(self, entries: list[int], chosen: Sequence[GridSelection]) -> None:
        self.entries = np.array(entries)
        order = np.stack([each.order for each in chosen])
        read = np.array([each.read for each in chosen])[:, None]
        ends = read + np.array([each.asked for each in chosen])[:, None]
        rank = np.arange(order.shape[1])
        kind = np.empty(order.shape, np.int8)  # 0 is an input, 1 a target, 2 neither
        np.put_along_axis(kind, order, (rank >= read).astype(np.int8) + (rank >= ends), 1)
        self.kind = kind
        nothing = np.zeros(order.shape[1], np.int64)
        self.ids = np.stack([nothing if each.stream.is_dense else each.value for each in chosen])

    def part(self, kind: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the inputs or the targets: selections (e,), how many tokens each has (e,), their ids (t,), places (t,)."""
        side = self.kind == kind
        rows, positions = side.nonzero()
        return self.entries, side.sum(1), self.ids[rows, positions], positions


def _worked_out(chosen: Sequence[Chosen]) -> list[_Grids]:
    """The grids among selections, by their length."""
    by_length: dict[int, dict[int, GridSelection]] = {}
    for number, each in enumerate(chosen):
        if isinstance(each, GridSelection):
            by_length.setdefault(len(each.order), {})[number] = each
    return [_Grids(list(some), list(some.values())) for some in by_length.values()]


class _Places:
    """Where the tokens of selections stand in a batch: one selection of a sample after the other."""

    def __init__(self, owner: np.ndarray, counts: np.ndarray, samples: int) -> None:
        used = np.bincount(owner, counts, samples).astype(np.int64)
        self.owner, self.counts = owner, counts
        self.starts = np.cumsum(counts) - counts - (np.cumsum(used) - used)[owner]  # within the sample
        self.shape = samples, int(used.max(initial=0))

    def of(self, entries: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The places (t,) of so many tokens of each of some selections in the flattened batch."""
        first = self.owner[entries] * self.shape[1] + self.starts[entries]
        return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


class _Side:
    """The inputs or the targets of a batch: tensors (B, N), all padding at first."""

    def __init__(self, places: _Places, stream: np.ndarray, first: np.ndarray) -> None:
        self.places, self.stream, self.first = places, stream, first
        self.ids, self.positions, self.reach = np.zeros((3, *places.shape), np.int64)
        self.streams = np.full(places.shape, -1, np.int64)
        self.labels = np.full(places.shape, NO_LABEL, np.int64)

    def put(
        self, entries: np.ndarray, counts: np.ndarray, ids: np.ndarray, positions: np.ndarray, **more: np.ndarray
    ) -> None:
        """Write the tokens of some selections (e,); ids, positions in the stream, and what else there is, are (t,)."""
        at, stream = self.places.of(entries, counts), self.stream[entries]
        positions = positions + np.repeat(self.first[stream], counts)
        columns = {"ids": ids, "positions": positions, "streams": np.repeat(stream, counts), **more}
        for name, values in columns.items():
            getattr(self, name).reshape(-1)[at] = values


def _inputs(layout: Layout, chosen: Sequence[Chosen], grids: Iterable[_Grids], side: _Side) -> Inputs:
    is_dense = np.array([s.is_dense for s in layout.streams])
    first = np.where(is_dense, 0, _first(layout, "inputs"))[side.stream]
    parts = [each.part(0) for each in grids]
    others = {k: each for k, each in enumerate(chosen) if isinstance(each, Selection) and len(each.inputs)}
    if others:
        entries, some = np.array(list(others)), others.values()
        said = [np.zeros(len(s.inputs), np.int64) if s.stream.is_dense else s.inputs for s in some]
        where = np.concatenate([s.input_positions for s in some])
        parts.append((entries, side.places.counts[entries], np.concatenate(said), where))
    for entries, counts, tokens, where in parts:
        side.put(entries, counts, tokens + np.repeat(first[entries], counts), where)
    ids, positions, streams = map(torch.from_numpy, (side.ids, side.positions, side.streams))
    return Inputs(ids, positions, streams, _dense(layout, chosen, side))


def _dense(layout: Layout, chosen: Sequence[Chosen], side: _Side) -> dict[str, DenseRows]:
    """The rows of dense streams, padded to the longest; padding rows point at the slot past the last."""
    found, places = {}, side.places
    samples, width = places.shape
    for number, each in enumerate(layout.streams):
        if not each.is_dense:
            continue
        entries = np.flatnonzero((side.stream == number) & (places.counts > 0)).tolist()
        if entries:
            assert isinstance(each.space, DenseSpace)
            most = int(places.counts[entries].max())
            values = np.zeros((samples, most, each.space.width), np.float32)
            slots = np.full((samples, most), width, np.int64)
            for k in entries:
                row, start, count = int(places.owner[k]), int(places.starts[k]), int(places.counts[k])
                values[row, :count] = chosen[k].inputs
                slots[row, :count] = np.arange(start, start + count)
            found[each.name] = DenseRows(torch.from_numpy(values), torch.from_numpy(slots))
    return found


def _targets(layout: Layout, chosen: Sequence[Chosen], grids: Iterable[_Grids], side: _Side) -> Targets:
    places = side.places
    parts = [each.part(1) for each in grids]
    others = {k: each for k, each in enumerate(chosen) if isinstance(each, Selection) and each.predictions}
    whole = {k: each for k, each in others.items() if not each.stream.is_sequence}
    if whole:
        entries = np.array(list(whole))
        said, where = (
            np.concatenate([getattr(s, name) for s in whole.values()]) for name in ("targets", "target_positions")
        )
        parts.append((entries, places.counts[entries], said, where))
    for entries, counts, said, where in parts:
        end = np.repeat(places.starts[entries] + counts, counts)
        side.put(entries, counts, np.zeros_like(said), where, reach=end, labels=said)
    if sequences := {k: each for k, each in others.items() if each.stream.is_sequence}:
        _sequences(layout, sequences, side)
    return Targets(*map(torch.from_numpy, (side.ids, side.positions, side.streams, side.reach, side.labels)))


def _sequences(layout: Layout, chosen: Mapping[int, Selection], side: _Side) -> None:
    """Write the targets of sequences: each token from those before it."""
    entries = np.array(list(chosen))
    counts, stream = side.places.counts[entries], side.stream[entries]
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    fed = np.concatenate([each.targets[:-1] for each in chosen.values()])
    said = np.concatenate([each.targets[1:] for each in chosen.values()])
    most = np.array([s.space.length if s.name in layout.position_rows else len(rank) for s in layout.streams])
    where = np.where(rank < np.repeat(most[stream], counts), rank, 0)  # as `Layout.target_rows` has it
    fed += np.repeat(_first(layout, "queries")[stream], counts)
    side.put(entries, counts, fed, where, reach=rank + 1 + np.repeat(side.places.starts[entries], counts), labels=said)
