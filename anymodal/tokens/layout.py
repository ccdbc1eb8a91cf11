"""The streams of a set side by side: one vocabulary and one table of positions, with an offset for each stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from anymodal.errors import SpaceError, nearest
from anymodal.spaces import Stream, TokenSpace

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


@attrs.frozen
class Block:
    """Rows `start` to `start + size` of a joint table; `key` names the vocabulary they belong to."""

    key: str
    start: int
    size: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.size)


@attrs.frozen(eq=False)
class JointTable(Mapping[str, Block]):
    """The blocks of a joint table by stream name; `first` is the row where the first block starts."""

    by_stream: Mapping[str, Block]
    first: int = 0

    def __getitem__(self, name: str) -> Block:
        return self.by_stream[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_stream)

    def __len__(self) -> int:
        return len(self.by_stream)

    @property
    def size(self) -> int:
        """Number of rows."""
        return max((block.start + block.size for block in self.by_stream.values()), default=self.first)

    @property
    def blocks(self) -> list[Block]:
        """The distinct blocks in order; streams of one vocabulary share one."""
        return sorted(set(self.by_stream.values()), key=lambda block: block.start)


def _stack(streams: Iterable[Stream], start: int) -> JointTable:
    """Blocks one after the other from the row `start` on; streams of one vocabulary share a block."""
    first = start
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
    return JointTable(blocks, first)


def _as_tuple(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    return tuple(streams)


@attrs.frozen
class Layout:
    """Streams side by side, in a fixed order; see the module's docstring.

    Four joint tables have a block of rows for each stream that is in them:

    inputs: embeddings of input tokens; row 0 is the empty token that padding and dense rows use.
    queries: embeddings that the decoder is fed; row 0 is the learned query of every grid.
    outputs: the output matrix.
    positions: the codes of positions.

    `index` numbers the streams. `position_rows` gives single sequences a longer table of positions than their length
    needs; their targets past the length share its first row, as in 4M. Raises SpaceError for streams of one name, or of
    one vocabulary and several sizes.
    """

    streams: Sequence[Stream] = attrs.field(converter=_as_tuple)
    position_rows: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    index: dict[str, int] = attrs.field(init=False, eq=False, repr=False)
    inputs: JointTable = attrs.field(init=False, eq=False, repr=False)
    queries: JointTable = attrs.field(init=False, eq=False, repr=False)
    outputs: JointTable = attrs.field(init=False, eq=False, repr=False)
    positions: JointTable = attrs.field(init=False, eq=False, repr=False)

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
        positions: dict[str, Block] = {}
        start = 0
        for s in self.streams:
            # Span masking adds at most two sentinels to a sequence (one span more than runs, and the last mark).
            rows = self.position_rows.get(s.name, s.space.length + (2 if s.is_sequence else 0))
            positions[s.name] = Block(s.name, start, rows)
            start += rows
        put("positions", JointTable(positions))

    def __getitem__(self, name: str) -> Stream:
        try:
            return self.streams[self.index[name]]
        except KeyError:
            raise SpaceError(f"no stream {name!r} in this set{nearest(name, self.index)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def target_rows(self, name: str, ranks: np.ndarray) -> np.ndarray:
        """Rows of the position table for the target tokens of a sequence by their rank in it (0, 1, ..)."""
        if name in self.position_rows:
            ranks = np.where(ranks < self[name].space.length, ranks, 0)
        return ranks + self.positions[name].start

    @property
    def targets(self) -> tuple[Stream, ...]:
        return tuple(s for s in self.streams if s.target)
