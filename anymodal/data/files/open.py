"""The layouts of files, and which of them a dataset has.

A layout is added by a class derived from `FileLayout`, with `FILE_LAYOUTS.add`, or by an entry point in the group
"anymodal.file_layouts". The one that was added last is asked first, so that layouts of your own come before ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from anymodal.config.tables import SettingsTable
from anymodal.data.files.folders import Folders
from anymodal.data.files.index import FileIndex, Wanted, key_and_suffix
from anymodal.data.files.layout import FileLayout, Place, usable
from anymodal.data.files.names import readable
from anymodal.data.files.tars import AlignedTars
from anymodal.data.files.webdataset import WebDataset
from anymodal.errors import DataError

FILE_LAYOUTS = SettingsTable(FileLayout, "file layout")  # type: ignore[type-abstract]
FILE_LAYOUTS.add(Folders)
FILE_LAYOUTS.add(AlignedTars)
FILE_LAYOUTS.add(WebDataset)


def layout_of_files(path: str) -> FileLayout:
    """The layout of the files at a path, as far as it shows without looking for parts. Raises DataError."""
    return _recognized(Place(path))


def names_of_parts(path: str) -> set[str]:
    """The names under which the parts of a dataset lie, such as its folders. Raises DataError."""
    place = Place(path)
    return _recognized(place).names(place)


def open_files(path: str, wanted: Mapping[str, Wanted], count: int | None = None) -> FileIndex:
    """The files of an aligned dataset.

    Args:
        path: a folder, a tar, or an address that fsspec knows.
        wanted: the parts to look for, each with the names under which it may lie.
        count: only the first samples.

    Returns:
        The index of the files that were found.

    Raises:
        DataError: there is no such place, or it has none of the files.
    """
    place = Place(path, wanted)
    layout = _recognized(place)
    files = layout.open(place, count)
    files.layout = layout.name
    if not len(files):
        if files.problems:
            first = next(iter(files.problems))
            raise DataError(f"{path} has no files that can be used; {first.part}: {first.kind}: {first.examples[0]}")
        hint = _loose(place) if isinstance(layout, Folders) else ""
        raise DataError(f"{path} has no files for {', '.join(wanted)}; {layout.told(layout.names(place))}{hint}")
    return files


def _loose(place: Place) -> str:
    """Where files belong that lie beside the folders, if they are what was looked for."""
    names = [entry.name for entry in place.entries if not entry.is_folder]
    for part, want in place.wanted.items():
        if fitting := sorted(name for name in names if key_and_suffix(name)[1] in want.suffixes):
            return f"; files such as {readable(fitting[0])} belong into a folder of it, such as {part}"
    return ""


def _recognized(place: Place) -> FileLayout:
    return next(layout for layout in usable(FILE_LAYOUTS) if layout.recognizes(place))
