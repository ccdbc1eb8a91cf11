"""What is known of one sample while it is generated: tokens of grids and sequences, rows of dense streams."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs
import numpy as np

from anymodal.errors import SpaceError
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer


@attrs.frozen(eq=False)
class Known:
    """Ids (n,) or rows (n, width) at `positions` (n,) of one stream."""

    values: np.ndarray
    positions: np.ndarray

    @classmethod
    def whole(cls, values: np.ndarray) -> Known:
        return cls(values, np.arange(len(values)))


class KnownTokens:
    """The known part of one sample, by stream name.

    `beliefs` holds probabilities (length, size) where a target was estimated as a mean, `drawn` all the sequences where
    several were drawn; the first of them is the known one.
    """

    def __init__(self, layout: Layout, tokens: Mapping[str, np.ndarray | Known]) -> None:
        self.layout = layout
        self.streams: dict[str, Known] = {}
        self.beliefs: dict[str, np.ndarray] = {}
        self.drawn: dict[str, list[np.ndarray]] = {}
        for name, value in tokens.items():
            self.put(name, value if isinstance(value, Known) else Known.whole(np.asarray(value)))

    def put(self, name: str, known: Known) -> None:
        """Set the known part of a stream. Raises SpaceError for tokens outside its space."""
        stream = self.layout[name]
        values, positions = known.values, known.positions
        if len(values) != len(positions) or (len(positions) and positions.max() >= self.layout.positions[name].size):
            raise SpaceError(f"{len(values)} tokens do not fit into the {stream.space.length} positions of {name!r}")
        if isinstance(stream.space, TokenSpace) and len(values):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= stream.space.size:
                raise SpaceError(f"{name!r} has ids 0..{stream.space.size - 1}, got {low if low < 0 else high}")
        self.streams[name] = known

    def extend(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Add tokens of a grid."""
        old = self.streams.get(name)
        if old is not None:
            ids, positions = np.concatenate([old.values, ids]), np.concatenate([old.positions, positions])
        order = np.argsort(positions, kind="stable")
        self.put(name, Known(ids[order], positions[order]))

    def unknown(self, stream: Stream) -> np.ndarray:
        """Positions of a grid that are not known yet, ascending."""
        known = self.streams.get(stream.name)
        return np.setdiff1d(np.arange(stream.space.length), known.positions if known else [])

    def copy(self) -> KnownTokens:
        """The same known part; what is generated into the copy does not change this one."""
        return KnownTokens(self.layout, self.streams)

    def open(self, stream: Stream) -> np.ndarray:
        """The ids (n,) around the holes of a sequence about to be written: one [S_1] if nothing with holes is known."""
        assert isinstance(stream.space, TokenSpace)
        known = self.streams.get(stream.name)
        if known is None or not stream.space.is_sentinel(known.values).any():
            known = Known.whole(np.array([stream.space.sentinel(1)]))
            self.put(stream.name, known)
        return known.values

    def pack(self, hidden: Collection[str] = (), absent: Collection[str] = ()) -> Packed:
        """Encoder input. `hidden` streams are replaced by what stands for "not given", `absent` ones left out.

        A hidden sequence is one [S_1], a hidden sequence of vectors one row of zeros, a hidden grid nothing.
        """
        packer = Packer(self.layout)
        for stream in self.layout.streams:
            known = self.streams.get(stream.name)
            if known is None or not stream.input or stream.name in absent:
                continue
            if stream.name in hidden:
                known = _nothing(stream)
            if stream.is_dense:
                packer.add_dense(stream.name, known.values, known.positions)
            elif len(known.values):
                packer.add_input(stream.name, known.values, known.positions)
        return packer.pack()


def _nothing(stream: Stream) -> Known:
    """What stands for a stream that is not given."""
    space, count = stream.space, int(stream.is_sequence)
    if isinstance(space, TokenSpace):
        return Known.whole(np.full(count, space.sentinel(1) if count else 0, np.int64))
    return Known.whole(np.zeros((count, space.width), np.float32))
