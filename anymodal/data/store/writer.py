"""Writes one stream of one shard of a tokenized dataset, as `anymodal.data.store.reader` reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from anymodal.data.store.arrays import write_arrays, writing
from anymodal.data.store.reader import stream_specs
from anymodal.spaces import Stream

Put = Callable[[int, Sequence[Sequence[np.ndarray] | None]], None]


def writing_stream(path: Path, stream: Stream, samples: int, crops: int) -> AbstractContextManager[Put]:
    """Write the tokens of a stream, whole or not at all; samples that are not put have none.

    The value is called with the number of a sample and, for it and those that follow, the arrays of each crop or None.
    Raises DataError if the disk is full or the folder cannot be written.
    """
    spelled = stream.is_sequence and not stream.is_dense
    return (_writing_sequences if spelled else _writing_rows)(path, stream, samples, crops)


@contextmanager
def _writing_rows(path: Path, stream: Stream, samples: int, crops: int) -> Iterator[Put]:
    """Values that take the same room, written as they come."""
    name, length = ("values" if stream.is_dense else "ids"), stream.space.length
    with writing(path, stream_specs(stream, samples, crops)) as write:

        def put(first: int, tokens: Sequence[Sequence[np.ndarray] | None]) -> None:
            for row, arrays in enumerate(tokens, first):
                if arrays is None:
                    continue
                write("present", row, np.ones(1, bool))
                if stream.is_dense and stream.is_sequence:
                    write("rows", row, np.array([[len(array) for array in arrays]]))
                    arrays = [np.pad(array, ((0, length - len(array)), (0, 0))) for array in arrays]
                write(name, row, np.stack(arrays)[None])

        yield put


@contextmanager
def _writing_sequences(path: Path, stream: Stream, samples: int, crops: int) -> Iterator[Put]:
    """Values of any length, all in a row, written at the end."""
    present = np.zeros(samples, bool)
    sequences: list[np.ndarray] = [np.empty(0, np.int64)] * (samples * crops)

    def put(first: int, tokens: Sequence[Sequence[np.ndarray] | None]) -> None:
        for row, arrays in enumerate(tokens, first):
            if arrays is not None:
                present[row] = True
                sequences[row * crops : (row + 1) * crops] = arrays

    yield put
    ids = np.concatenate(sequences).astype(stream_specs(stream, samples, crops)["ids"].dtype)
    ends = np.cumsum([len(sequence) for sequence in sequences], dtype=np.int64)
    write_arrays({"present": present, "ids": ids, "ends": ends}, path)
