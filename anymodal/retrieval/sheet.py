"""A picture of what an index found: each hit as its dataset shows it, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from anymodal.data.files import storage
from anymodal.data.sheet import draw_sheet, save_sheet
from anymodal.errors import DataError, legible
from anymodal.modality import Modality
from anymodal.retrieval.hits import Hit
from anymodal.retrieval.values import hit_values

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
    values = hit_values(shown, modalities, remote=data is not None)
    drawn = [(f"{hit.score:.3f} {hit.name}", each) for hit, each in zip(shown, values, strict=True) if each]
    sheet = draw_sheet(drawn)
    if sheet is None and remote:
        raise DataError(
            f"the index says that its data lies at {legible(remote[0], 200)}, and what an index says opens no address;"
            " if you trust that one, draw from it by --sheet-data"
        )
    if sheet is None:
        raise DataError(
            f"none of the {len(hits)} hits can be drawn: their data is not where it was, or has several samples of a"
            " name; draw from where it is now by --sheet-data"
        )
    save_sheet(sheet, out)
    return len(drawn)
