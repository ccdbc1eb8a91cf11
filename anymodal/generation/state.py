"""What is known of one sample while it is generated: tokens of grids and sequences, rows of dense streams."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import attrs
import numpy as np

from anymodal.crops import Crop
from anymodal.errors import SpaceError
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer

if TYPE_CHECKING:
    from anymodal.generation.views import Views


@attrs.frozen(eq=False)
class StreamTokens:
    """What is known of one stream of a sample; never changed in place.

    values: ids (n,), or rows (n, width) of a dense stream.
    positions: (n,), where they are in the stream, ascending.
    probabilities: (length, size) over all ids, where a grid was estimated as a mean.
    temperature: that of the probabilities.
    views: how each view lies in the picture, and the probabilities of what it shows, beside those of the picture.
    seen: of each draw how the view lies in the picture that it read; () where all read the picture.
    draws: all the sequences, where several were drawn; `values` are the first of them.
    chosen: whether the first draw is the value, and the others say only how sure it is.
    """

    values: np.ndarray
    positions: np.ndarray
    probabilities: np.ndarray | None = None
    draws: Sequence[np.ndarray] = ()
    temperature: float = 1.0
    chosen: bool = False
    views: Sequence[tuple[Crop, np.ndarray]] = ()
    seen: Sequence[Crop] = ()

    @classmethod
    def whole(
        cls,
        values: np.ndarray,
        draws: Sequence[np.ndarray] = (),
        chosen: bool = False,
        seen: Sequence[Crop] = (),
    ) -> StreamTokens:
        """Tokens from the first position on."""
        return cls(values, np.arange(len(values)), draws=draws, chosen=chosen, seen=seen)


class SampleState:
    """The known tokens of one sample, by stream name in `streams`. Raises SpaceError for tokens outside their space.

    `starts` has what sequences begin with that are not written yet, as `Partial` does. `views` has other views of the
    values behind the tokens, where these can be seen otherwise.
    """

    def __init__(
        self,
        layout: Layout,
        tokens: Mapping[str, np.ndarray | StreamTokens],
        starts: Mapping[str, np.ndarray] | None = None,
        views: Views | None = None,
    ) -> None:
        self.layout, self.starts, self.views = layout, dict(starts or {}), views
        self.streams: dict[str, StreamTokens] = {}
        for name, value in tokens.items():
            self.put(name, value if isinstance(value, StreamTokens) else StreamTokens.whole(np.asarray(value)))

    def put(self, name: str, tokens: StreamTokens) -> None:
        """Set the tokens of a stream. Raises SpaceError for tokens outside its space."""
        stream = self.layout[name]
        values, positions = tokens.values, tokens.positions
        if len(values) != len(positions) or (len(positions) and positions.max() >= self.layout.positions[name].size):
            raise SpaceError(f"{len(values)} tokens do not fit into the {stream.space.length} positions of {name!r}")
        if isinstance(stream.space, TokenSpace) and len(values):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= stream.space.size:
                raise SpaceError(f"{name!r} has ids 0..{stream.space.size - 1}, got {low if low < 0 else high}")
        self.streams[name] = tokens

    def extend(self, name: str, ids: np.ndarray, positions: np.ndarray) -> None:
        """Add tokens of a grid."""
        old = self.streams.get(name)
        if old is not None:
            ids, positions = np.concatenate([old.values, ids]), np.concatenate([old.positions, positions])
        order = np.argsort(positions, kind="stable")
        self.put(name, StreamTokens(ids[order], positions[order]))

    def drop(self, name: str, positions: np.ndarray) -> None:
        """Forget the tokens of a grid at these positions (k,)."""
        old = self.streams[name]
        stays = ~np.isin(old.positions, positions)
        self.put(name, StreamTokens(old.values[stays], old.positions[stays]))

    def unknown(self, stream: Stream) -> np.ndarray:
        """Positions of a grid that are not known yet, ascending."""
        tokens = self.streams.get(stream.name)
        return np.setdiff1d(np.arange(stream.space.length), tokens.positions if tokens else [])

    def copy(self) -> SampleState:
        """The same tokens; what is generated into the copy does not change this one."""
        return SampleState(self.layout, self.streams, self.starts, self.views)

    def open(self, stream: Stream) -> np.ndarray:
        """The ids (n,) around the holes of a sequence about to be written: one [S_1] if nothing with holes is known."""
        assert isinstance(stream.space, TokenSpace)
        tokens = self.streams.get(stream.name)
        if tokens is None or not stream.space.is_sentinel(tokens.values).any():
            tokens = StreamTokens.whole(np.array([stream.space.sentinel(1)]))
            self.put(stream.name, tokens)
        return tokens.values

    def seen(self, hidden: Collection[str] = (), absent: Collection[str] = ()) -> dict[str, StreamTokens]:
        """What the encoder reads. `hidden` streams are replaced by what stands for "not given", `absent` ones left out.

        A hidden sequence is one [S_1], a hidden sequence of vectors one row of zeros, a hidden grid nothing.
        """
        found = {}
        for stream in self.layout.streams:
            tokens = self.streams.get(stream.name)
            if tokens is None or not stream.input or stream.name in absent:
                continue
            tokens = _nothing(stream) if stream.name in hidden else tokens
            if len(tokens.values):
                found[stream.name] = tokens
        return found

    def pack(self, hidden: Collection[str] = (), absent: Collection[str] = ()) -> Packed:
        """Encoder input of what is `seen`."""
        return packed(self.layout, self.seen(hidden, absent))


def packed(layout: Layout, seen: Mapping[str, StreamTokens]) -> Packed:
    """Encoder input of tokens by stream name."""
    packer = Packer(layout)
    for name, tokens in seen.items():
        add = packer.add_dense if layout[name].is_dense else packer.add_input
        add(name, tokens.values, tokens.positions)
    return packer.pack()


@cache
def _nothing(stream: Stream) -> StreamTokens:
    """What stands for a stream that is not given, always the same object."""
    space, count = stream.space, int(stream.is_sequence)
    if isinstance(space, TokenSpace):
        return StreamTokens.whole(np.full(count, space.sentinel(1) if count else 0, np.int64))
    return StreamTokens.whole(np.zeros((count, space.width), np.float32))
