"""What of its inputs a model does not read: the part of texts, boxes and the like that it has no positions for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from anymodal.spaces import TokenSpace
from anymodal.tokens import Layout

log = logging.getLogger("anymodal")


def tell_cut(layout: Layout, samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Log a warning for each sequence, once in a process, that does not fit its stream.

    Args:
        layout: of the model.
        samples: ids (n,) of what is given, by stream; those that were cut lack the end mark.
    """
    for tokens in samples:
        for name, ids in tokens.items():
            space = layout[name].space
            if isinstance(space, TokenSpace) and space.is_sequence and _is_cut(ids, space):
                _tell(name, space.length)


def _is_cut(ids: np.ndarray, space: TokenSpace) -> bool:
    return len(ids) >= space.length and ids[-1] != space.end


@cache
def _tell(name: str, length: int) -> None:
    log.warning(
        "%s: what is given has more than the %d tokens that this model reads; the rest is left out", name, length
    )
