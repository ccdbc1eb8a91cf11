"""What is chosen of one stream of a sample, and how it is packed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np

from anymodal.masking.spans import chunk_sizes, select_rows, select_sequence
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer

NONE = np.zeros(0, np.int64)


@attrs.frozen(eq=False)
class Selection:
    """What is chosen of one stream. A target sequence of m ids makes m - 1 predictions.

    inputs: ids (n,), or rows (n, width), that are read.
    input_positions: (n,), their places in the stream; ranks in a sequence.
    targets: ids (m,) that are predicted.
    target_positions: (m,), their places.
    """

    stream: Stream
    inputs: np.ndarray
    input_positions: np.ndarray
    targets: np.ndarray
    target_positions: np.ndarray

    @property
    def predictions(self) -> int:
        """How many target tokens it makes."""
        return max(len(self.targets) - 1, 0) if self.stream.is_sequence else len(self.targets)


@attrs.frozen(eq=False)
class GridSelection:
    """As `Selection`, of a grid: the first positions in a random order, worked out when they are asked for.

    A batch works them out for all of its samples at once (`packed_batch`).

    value: ids (n,), or rows (n, width), of the whole grid.
    order: (n,), positions at random; the first `read` are inputs, and the next `asked` are targets.
    """

    stream: Stream
    value: np.ndarray
    order: np.ndarray
    read: int
    asked: int

    @property
    def input_positions(self) -> np.ndarray:
        return np.sort(self.order[: self.read])

    @property
    def target_positions(self) -> np.ndarray:
        return np.sort(self.order[self.read : self.read + self.asked])

    @property
    def inputs(self) -> np.ndarray:
        return self.value[self.input_positions]

    @property
    def targets(self) -> np.ndarray:
        return self.value[self.target_positions] if self.stream.target else NONE

    @property
    def predictions(self) -> int:
        return self.asked


Chosen = Selection | GridSelection


def pack(layout: Layout, selections: Iterable[Chosen]) -> Packed:
    """One packed sample of what was selected."""
    packer = Packer(layout)
    for chosen in selections:
        name = chosen.stream.name
        if len(chosen.inputs) and chosen.stream.is_dense:
            packer.add_dense(name, chosen.inputs, chosen.input_positions)
        elif len(chosen.inputs):
            packer.add_input(name, chosen.inputs, chosen.input_positions)
        if chosen.predictions:
            if chosen.stream.is_sequence:
                packer.add_sequence_target(name, chosen.targets)
            else:
                packer.add_grid_target(name, chosen.targets, chosen.target_positions)
    return packer.pack()


def select_grid(
    length: int, inputs: int, targets: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random positions of a grid to read and to predict, ascending; None asks for all that are not read."""
    order = rng.permutation(length)
    read, asked = order[:inputs], order[inputs : length if targets is None else inputs + targets]
    read.sort()
    asked.sort()
    return read, asked


def select_stream(
    stream: Stream, value: np.ndarray, inputs: int, targets: int, keep: str, chunk: int, rng: np.random.Generator
) -> Chosen:
    """Tokens of one stream within its budgets.

    Args:
        stream: a grid or a sequence.
        value: its ids (n,), or rows (n, width).
        inputs: how many may be read.
        targets: how many may be predicted; none of a stream that is no target.
        keep: how much of a sequence stays visible; see `Component`.
        chunk: how many ids of a sequence are hidden or kept together.
        rng: decides which.
    """
    if not stream.is_sequence:
        length = len(value)
        given = min(inputs, length)
        asked = min(targets, length - given) if stream.target else 0
        return GridSelection(stream, value, rng.permutation(length), given, asked)
    space = stream.space
    if not isinstance(space, TokenSpace):
        rows = select_rows(value, inputs, keep, rng)
        return Selection(stream, rows, np.arange(len(rows)), NONE, NONE)
    chunks = None if chunk == 1 else chunk_sizes(value, chunk, space)
    read, said = select_sequence(value, inputs, targets, keep, space, rng, chunks)
    return Selection(stream, read, np.arange(len(read)), said, np.arange(len(said)))
