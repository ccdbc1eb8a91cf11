"""COCO 2017 (Lin et al. 2014, Kirillov et al. 2019): `val2017/*.jpg` and `annotations/*_val2017.json`.

Panoptic annotations are PNG files in `annotations/panoptic_val2017/` (or beside `annotations`), in which the id of a
pixel is R + 256 G + 65536 B, 0 for none; the JSON says the category of each id. Ids of categories have gaps, so that
classes go by name. Crowds have a class like all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anymodal.errors import DataError, ValueProblem
from anymodal.evaluation.layouts.base import (
    NONE,
    Sample,
    Samples,
    class_table,
    lost_note,
    photograph,
    read_annotations,
    rows,
)
from anymodal.families.picture_files import read_picture


class CocoPanoptic(Samples):
    """Semantic classes by their names in the numbering of a model; pixels of classes that it does not have are 255."""

    def __init__(self, root: Path, known: tuple[str, ...]) -> None:
        self.root = root
        path = root / "annotations/panoptic_val2017.json"
        raw = read_annotations(path)
        categories = rows(raw, "categories", {"id": int, "name": str}, path)
        names = {row["id"]: [row["name"]] for row in categories}
        self.table, lost = class_table(names, known)
        if not self.table:
            raise DataError(f"none of the categories of {path} is one of the model's, such as {', '.join(known[:3])}")
        self.notes = lost_note(lost, len(names))
        self.lost = set(names) - set(self.table)
        self.images = file_names(raw, path)
        found = rows(raw, "annotations", {"image_id": int, "file_name": str, "segments_info": list}, path)
        self.annotations = sorted(found, key=lambda row: row["file_name"])
        folders = [root / "annotations/panoptic_val2017", root / "panoptic_val2017"]
        self.folder = next((folder for folder in folders if folder.is_dir()), folders[0])

    def __len__(self) -> int:
        return len(self.annotations)

    def name(self, number: int) -> str:
        return str(self.annotations[number]["file_name"])

    def read(self, number: int) -> Sample:
        row = self.annotations[number]
        picture = photograph(self.root / "val2017" / picture_name(self.images, row["image_id"]))
        path = self.folder / plain_name(row["file_name"])
        labels = read_picture(path)
        if labels.mode != "RGB" or labels.size != picture.shape[1::-1]:
            raise ValueProblem(
                f"{path} is a picture {labels.size} of mode {labels.mode}, not RGB of {picture.shape[1::-1]}"
            )
        colors = np.asarray(labels).astype(np.int64)
        ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        return Sample({"rgb": picture}, self._classes(ids, row["segments_info"], path))

    def _classes(self, ids: np.ndarray, segments: list[Any], path: Path) -> np.ndarray:
        truth = np.full(ids.shape, NONE, np.uint8)
        left = set(np.unique(ids).tolist()) - {0}
        for segment in segments:
            number, category = (
                segment.get(key) if isinstance(segment, dict) else None for key in ("id", "category_id")
            )
            if not isinstance(number, int) or category not in self.table.keys() | self.lost:
                raise ValueProblem(f"{path} has the segment {segment!r:.80} of no category")
            left.discard(number)
            if category in self.table:
                truth[ids == number] = self.table[category]
        if left:
            raise ValueProblem(f"{path} has the id {min(left)}, of which segments_info says nothing")
        return truth


class CocoCaptions(Samples):
    """All captions of each picture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / "annotations/captions_val2017.json"
        raw = read_annotations(path)
        self.images = file_names(raw, path)
        self.captions: dict[int, list[str]] = {}
        for row in rows(raw, "annotations", {"image_id": int, "caption": str}, path):
            self.captions.setdefault(row["image_id"], []).append(row["caption"])
        self.numbers = sorted(self.captions)
        if not self.numbers:
            raise DataError(f"{path} has no captions")

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, number: int) -> str:
        return f"{self.numbers[number]:012d}"

    def read(self, number: int) -> Sample:
        image = self.numbers[number]
        picture = photograph(self.root / "val2017" / picture_name(self.images, image))
        return Sample({"rgb": picture}, self.captions[image])


def file_names(raw: dict[str, Any], path: Path) -> dict[int, str]:
    """The names of picture files by the id of their image. Raises DataError."""
    return {row["id"]: row["file_name"] for row in rows(raw, "images", {"id": int, "file_name": str}, path)}


def picture_name(images: dict[int, str], number: int) -> str:
    """The file of an image. Raises ValueProblem for one that there is not."""
    if number not in images:
        raise ValueProblem(f"the image {number} is not among those of the annotations")
    return plain_name(images[number])


def plain_name(name: str) -> str:
    """A name that stays in its folder. Raises ValueProblem."""
    if "/" in name or "\\" in name or name in ("", ".", "..") or "\0" in name:
        raise ValueProblem(f"{name!r:.80} is no name of a file")
    return name
