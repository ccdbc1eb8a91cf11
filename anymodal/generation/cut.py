"""What of its inputs a model does not read: the part of texts, boxes and the like that it has no positions for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from anymodal.families.embeddings import EmbeddingModality
from anymodal.spaces import TokenSpace
from anymodal.tokens import ModalitySet

log = logging.getLogger("anymodal")


def tell_cut(modalities: ModalitySet, values: Mapping[str, Any], tokens: Mapping[str, np.ndarray]) -> None:
    """Log a warning for each sequence of a sample, once in a process, that does not fit its stream.

    Args:
        modalities: of the model.
        values: accepted ones, by modality; rows of embeddings that are cut are more than are read.
        tokens: what is read of them by stream; ids (n,) that were cut lack the end mark.
    """
    for name, each in tokens.items():
        stream = modalities.layout[name]
        space, modality = stream.space, modalities[stream.modality]
        if isinstance(space, TokenSpace):
            cut = space.is_sequence and len(each) >= space.length and each[-1] != space.end
        else:
            cut = isinstance(modality, EmbeddingModality) and len(values[modality.name]) > space.length
        if cut:
            _tell(name, space.length)


@cache
def _tell(name: str, length: int) -> None:
    log.warning(
        "%s: what is given has more than the %d tokens that this model reads; the rest is left out", name, length
    )
