"""COCO 2017 (Lin et al. 2014, Kirillov et al. 2019): `val2017/*.jpg` and `annotations/*_val2017.json`.

Panoptic annotations are PNG files in `annotations/panoptic_val2017/` (or beside `annotations`), in which the id of a
pixel is R + 256 G + 65536 B, 0 for none; the JSON says the category of each id. Ids of categories have gaps, so that
classes go by name. Crowds have a class like all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anymodal.errors import DataError, ValueProblem, brief
from anymodal.evaluation.layouts.base import (
    NONE,
    Sample,
    Samples,
    class_table,
    lost_note,
    photograph,
    read_annotations,
    rows,
    stamps,
)
from anymodal.families.picture_files import read_picture
from anymodal.families.pictures import LOSSY, source_of

PANOPTIC, CAPTIONS = "annotations/panoptic_val2017.json", "annotations/captions_val2017.json"


class CocoPanoptic(Samples):
    """Semantic classes by their names in the numbering of a model; pixels of classes that it does not have are 255."""

    def __init__(self, root: Path, known: tuple[str, ...]) -> None:
        self.root = root
        path = root / PANOPTIC
        raw = read_annotations(path)
        categories = rows(raw, "categories", {"id": int, "name": str}, path)
        names = {number: [name] for number, name in by_id(categories, "name", path).items()}
        self.table, lost = class_table(names, known)
        if not self.table:
            raise DataError(f"none of the categories of {path} is one of the model's, such as {', '.join(known[:3])}")
        self.notes = lost_note(lost, len(names))
        self.lost = set(names) - set(self.table)
        self.images = file_names(raw, path)
        found = rows(raw, "annotations", {"image_id": int, "file_name": str, "segments_info": list}, path)
        self.annotations = sorted(found, key=lambda row: row["file_name"])
        if not found:
            raise DataError(f"{path} has no annotations")
        folders = [root / "annotations/panoptic_val2017", root / "panoptic_val2017"]
        self.folder = next((folder for folder in folders if folder.is_dir()), folders[0])

    def __len__(self) -> int:
        return len(self.annotations)

    def name(self, number: int) -> str:
        return str(self.annotations[number]["file_name"])

    def state(self, count: int) -> object:
        rows = self.annotations[:count]
        labels = [self.folder / row["file_name"] for row in rows]
        pictures = [self.root / "val2017" / self.images.get(row["image_id"], "") for row in rows]
        return stamps([self.root / PANOPTIC, *labels, *pictures])

    def read(self, number: int) -> Sample:
        row = self.annotations[number]
        picture = photograph(self.root / "val2017" / picture_name(self.images, row["image_id"]))
        path = self.folder / plain_name(row["file_name"])
        labels = read_picture(path)
        if labels.mode != "RGB" or labels.size != picture.shape[1::-1]:
            raise ValueProblem(
                f"{path} is a picture {labels.size} of mode {labels.mode}, not RGB of {picture.shape[1::-1]}"
            )
        if source_of(labels).scale != 1 or source_of(labels).format in LOSSY:
            raise ValueProblem(f"{path} has lost bits of its ids: it is no file of 8 bits without loss, such as PNG")
        colors = np.asarray(labels).astype(np.int64)
        ids = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
        return Sample({"rgb": picture}, self._classes(ids, row["segments_info"], path))

    def _classes(self, ids: np.ndarray, segments: list[Any], path: Path) -> np.ndarray:
        different, places = np.unique(ids, return_inverse=True)
        left = {number: k for k, number in enumerate(different.tolist()) if number}
        classes, seen = np.full(len(different), NONE, np.uint8), set[int]()
        known = self.table.keys() | self.lost
        for segment in segments:
            number, category = (
                segment.get(key) if isinstance(segment, dict) else None for key in ("id", "category_id")
            )
            if type(number) is not int or type(category) is not int or category not in known:
                raise ValueProblem(f"{path} has the segment {brief(segment)} of no category")
            if number in seen:
                raise ValueProblem(f"{path} has the segment {brief(number)} twice")
            seen.add(number)
            if number in left:
                classes[left.pop(number)] = self.table.get(category, NONE)
        if left:
            raise ValueProblem(f"{path} has the id {min(left)}, of which segments_info says nothing")
        return classes[places.reshape(ids.shape)]


class CocoCaptions(Samples):
    """All captions of each picture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / CAPTIONS
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

    def state(self, count: int) -> object:
        names = [self.images.get(number, "") for number in self.numbers[:count]]
        return stamps([self.root / CAPTIONS, *(self.root / "val2017" / name for name in names)])

    def read(self, number: int) -> Sample:
        image = self.numbers[number]
        picture = photograph(self.root / "val2017" / picture_name(self.images, image))
        captions = self.captions[image]
        if not all(_is_whole(caption) for caption in captions):
            raise ValueProblem(f"a caption of the image {image} holds halves of letters")
        return Sample({"rgb": picture}, captions)


class CocoPairs(CocoCaptions):
    """The first caption of each picture, and the picture as the truth."""

    def read(self, number: int) -> Sample:
        sample = super().read(number)
        return Sample({"caption": sample.truth[0]}, sample.inputs["rgb"])


class CocoPictures(CocoCaptions):
    """The pictures of the first `count` captions, each with its name as the truth."""

    def __init__(self, root: Path, count: int) -> None:
        super().__init__(root)
        ends = np.cumsum([len(self.captions[number]) for number in self.numbers])
        self.numbers = self.numbers[: int(np.searchsorted(ends, count)) + 1]

    def read(self, number: int) -> Sample:
        picture = photograph(self.root / "val2017" / picture_name(self.images, self.numbers[number]))
        return Sample({"rgb": picture}, self.name(number))


class CocoQueries(CocoCaptions):
    """Each caption of each picture, with the name of the picture as the truth."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pairs = [(image, k) for image in self.numbers for k in range(len(self.captions[image]))]

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, number: int) -> str:
        image, caption = self.pairs[number]
        return f"{image:012d}, caption {caption + 1}"

    def state(self, count: int) -> object:
        return stamps([self.root / CAPTIONS])

    def read(self, number: int) -> Sample:
        image, caption = self.pairs[number]
        text = self.captions[image][caption]
        if not _is_whole(text):
            raise ValueProblem(f"a caption of the image {image} holds halves of letters")
        return Sample({"caption": text}, f"{image:012d}")


def _is_whole(text: str) -> bool:
    """Whether a text can be written; JSON can hold one half of a letter beyond 16 bits."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def file_names(raw: dict[str, Any], path: Path) -> dict[int, str]:
    """The names of picture files by the id of their image. Raises DataError."""
    return by_id(rows(raw, "images", {"id": int, "file_name": str}, path), "file_name", path)


def by_id(found: list[dict[str, Any]], key: str, path: Path) -> dict[int, str]:
    """What rows have under a key, by their ids. Raises DataError for an id that stands for two things."""
    known: dict[int, str] = {}
    for row in found:
        if known.setdefault(row["id"], row[key]) != row[key]:
            raise DataError(f"{path} has the id {brief(row['id'])} with two values of {key!r}")
    return known


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
