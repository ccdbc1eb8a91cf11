"""Whether the files of a dataset that was made shard by shard are those that were written, by their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anymodal.data.files.names import leads_elsewhere
from anymodal.data.jobs.manifest import MANIFEST
from anymodal.data.jobs.receipts import Checksum
from anymodal.data.report import ProblemCounts
from anymodal.data.schema import check_book, read_book
from anymodal.errors import AnymodalError

KINDS = ("values", "tokens")
SUFFIXES = (".tar", ".safetensors")  # entries without them stand for the many files of a shard in a plain folder


def stated_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings by modality that the manifest of a dataset of values states; none where there is none."""
    try:
        book = read_book(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
        modalities = book.get("modalities") if book.get("kind") == "values" else None
    except (AnymodalError, OSError):
        return {}
    found = {name: each.get("settings") for name, each in (modalities or {}).items() if isinstance(each, Mapping)}
    return {name: dict(settings) for name, settings in found.items() if isinstance(settings, Mapping)}


def report_damaged(folder: Path, problems: ProblemCounts) -> None:
    """Count the files that are not as the manifest of the folder says; a folder without one has none."""
    try:
        if not (folder / MANIFEST).is_file():
            return
        book = read_book(folder / MANIFEST)
        if book.get("kind") not in KINDS:  # of somebody else
            return
        check_book(book, folder / MANIFEST)
    except (AnymodalError, OSError) as error:
        problems.add("manifest", "not readable", str(error))
        return
    for name, known in book.get("files", {}).items():
        part = name.partition("/")[0]
        if leads_elsewhere(name):
            problems.add("manifest", "unsafe name", name)
        elif not name.endswith(SUFFIXES):
            continue
        elif not (folder / name).is_file():
            problems.add(part, "missing file", str(folder / name))
        elif not Checksum(**known).fits([folder / name]):
            problems.add(part, "damaged file", f"{folder / name} is not what was written: its hash is another")
