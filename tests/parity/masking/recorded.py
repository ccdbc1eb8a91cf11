"""What the recorded set-ups of masking describe, as ours: streams, and texts as ids."""

from __future__ import annotations

import numpy as np

from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace
from anymodal.text import Vocabulary
from parity.vocabulary import text_space


def is_grid(name: str) -> bool:
    return "@" in name or name.startswith("tok_")


def recorded_stream(name: str, kind: str, length: int) -> Stream:
    if kind == "seq":
        return Stream(name, name, text_space(length))
    if kind == "seq_emb":
        return Stream(name, name, DenseSpace(1, length, LEFT_TO_RIGHT), target=False)
    if name.startswith("rgb"):
        return Stream(name, name, DenseSpace(1, length), target=False)
    return Stream(name, name, TokenSpace(2, length))


def encoded(value: str | list[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Ids with the end mark, and how many belong together: those of each entry of a list, else single ones."""
    if isinstance(value, str):
        ids = np.append(vocabulary.encode(value), vocabulary.end)
        return ids, np.ones(len(ids), np.int64)
    parts = [vocabulary.encode(part) for part in value]
    return np.concatenate([*parts, [vocabulary.end]]), np.array([*map(len, parts), 1])
