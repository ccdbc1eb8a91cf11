"""A set of modalities as a table for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from anymodal.notebook import html_table
from anymodal.plugins.registry import summary
from anymodal.spaces import DenseSpace, Stream

if TYPE_CHECKING:
    from anymodal.tokens.modality_set import ModalitySet

COLUMNS = ("modality", "what it is", "", "tokens")


def set_table(modalities: ModalitySet, title: str = "") -> str:
    """Name, summary, direction and tokens of each modality, as HTML."""
    rows = [
        (modality.name, summary(type(modality)), _direction(streams), _tokens(streams))
        for modality in modalities
        for streams in (modalities.streams(modality.name),)
    ]
    return html_table(COLUMNS, rows, title)


def _direction(streams: Iterable[Stream]) -> str:
    reads, makes = (any(getattr(each, way) for each in streams) for way in ("input", "target"))
    return "in and out" if reads and makes else "in" if reads else "out"


def _tokens(streams: Iterable[Stream]) -> str:
    """Such as "8 x 8 of 1024 ids", of what the model generates, or else of what it reads."""
    streams = list(streams)
    space = next((each.space for each in streams if each.target), streams[0].space)
    places = f"{space.shape[0]} x {space.shape[1]}" if space.shape else f"{space.length}"
    return f"{places} of {f'{space.width} numbers' if isinstance(space, DenseSpace) else f'{space.size} ids'}"
