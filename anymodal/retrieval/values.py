"""The values of what an index found, from the datasets that it names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from anymodal.data.files import storage
from anymodal.data.files.values import ValueSource, open_values
from anymodal.errors import AnymodalError
from anymodal.modality import Modality
from anymodal.retrieval.hits import Hit

Opened = tuple[ValueSource, dict[str, int]]


def hit_values(hits: Sequence[Hit], modalities: Sequence[Modality], *, remote: bool = False) -> list[dict[str, Any]]:
    """What is still there of hits.

    Args:
        hits: what was found.
        modalities: which values are wanted, such as photographs.
        remote: whether addresses are opened too. What an index says of its data was written by whoever made it.

    Returns:
        For each hit its values with their modalities: ``{"rgb": (modality, value)}``; {} where its data is gone, or has
        several samples of its name, as tars may have in different shards.
    """
    sources: dict[str, Opened | None] = {}
    for data in {hit.data for hit in hits}:
        wanted = {each.name for each in hits if each.data == data}
        usable = data and (remote or not storage.is_remote(data))
        sources[data] = _opened(data, modalities, wanted) if usable else None
    return [_values(hit, sources[hit.data]) for hit in hits]


def _opened(data: str, modalities: Sequence[Modality], wanted: Collection[str]) -> Opened | None:
    """The dataset, and where in it the wanted samples are that alone have their names; None where there is none."""
    try:
        source = open_values(data, modalities)
    except AnymodalError:
        return None
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(source.names):
        if name in wanted:
            rows.setdefault(name, []).append(row)
    return source, {name: found[0] for name, found in rows.items() if len(found) == 1}


def _values(hit: Hit, opened: Opened | None) -> dict[str, Any]:
    if opened is None or hit.name not in opened[1]:
        return {}
    source, rows = opened
    try:
        values = source.read(rows[hit.name])
    except AnymodalError:
        return {}
    return {name: (source.modalities[name], value) for name, value in values.items()}
