"""Tars of whole samples, as the package webdataset writes them: members KEY.PART.ext, or KEY.ext, side by side.

The name of a sample ends at the first dot of the last part of its path; what follows is the extension. An extension of
several pieces names the part before its ending (0001.rgb.png, 0001.caption.json), one of a single piece is both
(0001.jpg is the part `jpg`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import attrs

from anymodal.data.files import storage
from anymodal.data.files.index import FileIndex
from anymodal.data.files.layout import FileLayout, Place, is_tar
from anymodal.data.files.names import decoded
from anymodal.data.files.tar_index import tables
from anymodal.data.files.tars import SHARDS_AT_ONCE, TarIndex
from anymodal.errors import DataError


@attrs.frozen
class WebDataset(FileLayout):
    """One tar, or a folder with tars and without folders; the extensions of the first 16 shards name the parts."""

    name: str = attrs.field(init=False, default="webdataset")
    description: ClassVar[str] = "tars of whole samples, as webdataset writes them: shard-00000.tar with 0001.rgb.png"
    units: ClassVar[str] = "extensions"

    def recognizes(self, place: Place) -> bool:
        if place.path.endswith(".tar"):
            return True
        return any(map(is_tar, place.entries)) and not any(each.is_folder for each in place.entries)

    def names(self, place: Place) -> set[str]:
        found, damage = set(), ""
        for table in tables(_tars(place)[:SHARDS_AT_ONCE]):
            found |= {split_member(decoded(raw))[0] for raw in table.names.tolist()}
            damage = damage or table.damage
        if damage and not found - {""}:
            raise DataError(damage)
        return found - {""}

    def told(self, names: Collection[str]) -> str:
        numbered = next((name for name in sorted(names) if name.partition(".")[0].isdigit()), None)
        if numbered is None:
            return super().told(names)
        return (
            f"the name of a sample ends at its first dot, so that its extensions are such as {numbered!r};"
            " name samples frame_000, not frame.000"
        )

    def open(self, place: Place, count: int | None) -> FileIndex:
        folders = place.chosen(self.names(place))
        shards = {tar.rpartition("/")[2].removesuffix(".tar"): {tar: tuple(folders)} for tar in _tars(place)}
        return WebDatasetIndex(place, folders, shards, count)


class WebDatasetIndex(TarIndex):
    """Members of tars of whole samples."""

    def split(self, member: str, parts: Sequence[str]) -> tuple[Sequence[str], str, str]:
        name, key, suffix = split_member(member)
        return [part for part in parts if self.folders[part] == name], key, suffix

    def rest_is_known(self) -> bool:
        return False

    def member(self, part: str, key: str, ending: str) -> str:
        name = self.folders[part]
        return f"{key}{ending}" if f".{name}" == ending else f"{key}.{name}{ending}"


def split_member(member: str) -> tuple[str, str, str]:
    """The part, the name of the sample, and the ending of a member; all empty where it has none of them.

    As webdataset.tariterators.base_plus_ext, the extension in lower case.
    """
    folder, slash, base = member.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    name, _, ending = extension.lower().rpartition(".")
    if not stem or not ending:
        return "", "", ""
    return name or ending, f"{folder}{slash}{stem}", f".{ending}"


def _tars(place: Place) -> list[str]:
    if place.path.endswith(".tar"):
        return [place.path]
    return [storage.join(place.path, each.name) for each in place.entries if is_tar(each)]
