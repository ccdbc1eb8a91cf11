"""A picture of what an index found: each hit as its dataset shows it, the best first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from anymodal.data.files import storage
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.sheet import Values, draw_sheet, save_sheet
from anymodal.errors import AnymodalError, DataError, legible
from anymodal.modality import Modality
from anymodal.retrieval.index import Hit

MOST = 50


def write_hits(
    hits: Sequence[Hit], modalities: Sequence[Modality], out: Path, *, data: str | Path | None = None
) -> int:
    """Draw hits, a line each with the photographs of their samples, into a PNG file.

    What an index says of its data was written by whoever made it, so that alone opens no address.

    Args:
        hits: what was found; of many the first 50 are drawn.
        modalities: what samples are shown by, such as photographs.
        out: the picture.
        data: the dataset to draw from, wherever it lies; by default those that the index names, of this machine.

    Returns:
        How many could be drawn.

    Raises:
        DataError: the data of none of them can be read, lies behind an address that `data` does not name, or the file
            cannot be written.
    """
    shown = [attrs.evolve(hit, data=hit.data if data is None else str(data)) for hit in hits[:MOST]]
    remote = [hit.data for hit in shown if data is None and storage.is_remote(hit.data)]
    drawn = list(_samples([hit for hit in shown if hit.data not in remote], modalities))
    sheet = draw_sheet(drawn)
    if sheet is None and remote:
        raise DataError(
            f"the index says that its data lies at {legible(remote[0], 200)}, and what an index says opens no address;"
            " if you trust that one, draw from it by --sheet-data"
        )
    if sheet is None:
        raise DataError(f"none of the {len(hits)} hits can be drawn: their data is not where it was")
    save_sheet(sheet, out)
    return len(drawn)


def _samples(hits: Sequence[Hit], modalities: Sequence[Modality]) -> Iterator[tuple[str, Values]]:
    sources: dict[str, tuple[ValueSource, dict[str, int]] | None] = {}
    for hit in hits:
        if hit.data not in sources:
            wanted = {each.name for each in hits if each.data == hit.data}
            sources[hit.data] = _opened(hit.data, modalities, wanted)
        found = sources[hit.data]
        if found is None or hit.name not in found[1]:
            continue
        source, rows = found
        try:
            values = source.read(rows[hit.name])
        except AnymodalError:
            continue
        shown = {name: (source.modalities[name], value) for name, value in values.items()}
        if shown:
            yield f"{hit.score:.3f} {hit.name}", shown


def _opened(data: str, modalities: Sequence[Modality], wanted: set[str]) -> tuple[ValueSource, dict[str, int]] | None:
    """The dataset, and where in it the wanted samples are; None where there is none any more."""
    try:
        source = open_values(data, modalities) if data else None
    except AnymodalError:
        return None
    if source is None:
        return None
    return source, {name: row for row, name in enumerate(source.names) if name in wanted}
