"""A set of modalities in one token space, and packed tokens: exactly the chosen ones, with nothing in between.

`Layout` puts the streams of a set side by side: one vocabulary, one table of positions. A token travels as three
numbers (row of the vocabulary, row of the position table, stream); dense streams bring rows of numbers and the slots
where they belong. Model, trainer and sampler see only this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.errors import SpaceError, UnknownModality, nearest
from anymodal.modality import Modality
from anymodal.plugins import registry
from anymodal.spaces import DenseSpace, Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

NO_LABEL = -100


@attrs.frozen
class Block:
    """Rows `start` to `start + size` of a joint table; `key` names the vocabulary they belong to."""

    key: str
    start: int
    size: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.size)


def _stack(streams: Iterable[Stream], start: int) -> dict[str, Block]:
    """Blocks by stream name, one after the other; streams of one vocabulary share a block."""
    blocks: dict[str, Block] = {}
    by_key: dict[str, Block] = {}
    for stream in streams:
        space = stream.space
        assert isinstance(space, TokenSpace)
        key = space.vocabulary or stream.name
        block = by_key.get(key)
        if block is None:
            block = by_key[key] = Block(key, start, space.size)
            start += space.size
        elif block.size != space.size:
            raise SpaceError(
                f"streams that share the vocabulary {key!r} disagree on its size: {block.size}, {space.size}"
            )
        blocks[stream.name] = block
    return blocks


def _as_tuple(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    return tuple(streams)


@attrs.frozen
class Layout:
    """Streams side by side, in a fixed order; see the module's docstring.

    `inputs`, `queries` and `outputs` are blocks of three joint tables: embeddings of input tokens (row 0 is the empty
    token that padding and dense rows use), embeddings that the decoder is fed (row 0 is the learned query of every
    grid), and the output matrix. `positions` are the rows of the position table. `position_rows` gives single sequences
    a longer table than their length needs; their targets past the length share its first row, as in 4M.
    """

    streams: Sequence[Stream] = attrs.field(converter=_as_tuple)
    position_rows: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    index: dict[str, int] = attrs.field(init=False, eq=False, repr=False)
    inputs: dict[str, Block] = attrs.field(init=False, eq=False, repr=False)
    queries: dict[str, Block] = attrs.field(init=False, eq=False, repr=False)
    outputs: dict[str, Block] = attrs.field(init=False, eq=False, repr=False)
    positions: dict[str, Block] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        put = lambda key, value: object.__setattr__(self, key, value)  # noqa: E731
        names = [s.name for s in self.streams]
        if len(set(names)) != len(names):
            raise SpaceError(f"stream {next(n for n in names if names.count(n) > 1)!r} appears twice in a layout")
        tokens = [s for s in self.streams if not s.is_dense]
        put("index", {name: i for i, name in enumerate(names)})
        put("inputs", _stack((s for s in tokens if s.input), 1))
        put("queries", _stack((s for s in tokens if s.target and s.is_sequence), 1))
        put("outputs", _stack((s for s in tokens if s.target), 0))
        positions, start = {}, 0
        for s in self.streams:
            # Span masking adds at most two sentinels to a sequence (one span more than runs, and the last mark).
            rows = self.position_rows.get(s.name, s.space.length + (2 if s.is_sequence else 0))
            positions[s.name] = Block(s.name, start, rows)
            start += rows
        put("positions", positions)

    def __getitem__(self, name: str) -> Stream:
        try:
            return self.streams[self.index[name]]
        except KeyError:
            raise SpaceError(f"no stream {name!r} in this set{nearest(name, self.index)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def rows(self, table: str) -> int:
        """Number of rows of the table 'inputs', 'queries', 'outputs' or 'positions'."""
        blocks: dict[str, Block] = getattr(self, table)
        first = 0 if table in ("outputs", "positions") else 1
        return max((b.start + b.size for b in blocks.values()), default=first)

    def blocks(self, table: str) -> list[Block]:
        """The distinct blocks of a table in order."""
        return sorted(set(getattr(self, table).values()), key=lambda b: b.start)

    def target_rows(self, name: str, ranks: np.ndarray) -> np.ndarray:
        """Rows of the position table for the target tokens of a sequence by their rank in it (0, 1, ..)."""
        if name in self.position_rows:
            ranks = np.where(ranks < self[name].space.length, ranks, 0)
        return ranks + self.positions[name].start

    @property
    def targets(self) -> tuple[Stream, ...]:
        return tuple(s for s in self.streams if s.target)


@attrs.frozen(eq=False)
class DenseRows:
    """Rows of a dense stream: `values` (…, R, width) float32, and `slots` (…, R), their places among the inputs."""

    values: Any
    slots: Any


@attrs.frozen(eq=False)
class Inputs:
    """Packed input tokens: rows of the input table, rows of the position table, stream indices (-1 is padding)."""

    ids: Any
    positions: Any
    streams: Any
    dense: Mapping[str, DenseRows] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Targets:
    """Packed target tokens: what the decoder is fed (`ids`), where, for which stream, and the id it should say.

    `labels` are ids within the stream's own space (-100: none). `reach` bounds self-attention: position i attends to
    positions j < reach[i] of its own stream, which is "all of them" for grids and "up to itself" for sequences.
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


class ModalitySet:
    """Modalities composed into one token space.

    `members` are names of installed modalities, classes, or instances with their own numbers; `vocabulary` is shared
    by all that write text. `layout` leaves out some of their streams, or uses them in one direction only, as a
    checkpoint has it. Raises UnknownModality or SpaceError.
    """

    def __init__(
        self,
        members: Iterable[str | type[Modality] | Modality],
        vocabulary: Any = None,
        layout: Layout | None = None,
    ) -> None:
        self.modalities: dict[str, Modality] = {}
        for member in members:
            modality = self._resolve(member)
            if modality.name in self.modalities:
                raise SpaceError(f"modality {modality.name!r} appears twice in a set")
            if vocabulary is not None:
                modality.vocabulary = vocabulary
            self.modalities[modality.name] = modality
        if not self.modalities:
            raise SpaceError("a set needs at least one modality")
        self.vocabulary = vocabulary
        self.layout = layout or Layout(s for m in self.modalities.values() for s in m.streams())
        for stream in self.layout.streams:
            if stream.modality not in self.modalities:
                raise SpaceError(f"the layout has a stream {stream.name!r} of a modality that is not in the set")

    @staticmethod
    def _resolve(member: str | type[Modality] | Modality) -> Modality:
        if isinstance(member, Modality):
            return member
        return registry().modality(member)()

    def __getitem__(self, name: str) -> Modality:
        try:
            return self.modalities[name]
        except KeyError:
            known = ", ".join(self.modalities)
            raise UnknownModality(
                f"modality {name!r} is not in this set{nearest(name, self.modalities)} (it has: {known})"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.modalities

    def __iter__(self) -> Any:
        return iter(self.modalities.values())

    def __len__(self) -> int:
        return len(self.modalities)

    def __repr__(self) -> str:
        return f"ModalitySet({', '.join(self.modalities)})"

    def streams(self, name: str) -> tuple[Stream, ...]:
        """The streams of a modality in this set."""
        return tuple(s for s in self.layout.streams if s.modality == name)

    @property
    def targets(self) -> list[str]:
        """Names of the modalities that can be generated: those whose main stream is a target."""
        return [name for name in self.modalities if name in self.layout and self.layout[name].target]
