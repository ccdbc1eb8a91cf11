"""COCO 2017's instances (Lin et al. 2014): `val2017/*.jpg` and `annotations/instances_val2017.json`.

A `bbox` is [x, y, width, height] in pixels. A `segmentation` is a list of polygons [x, y, x, y, ..], whose union it is,
or lengths of runs in the order of columns ("RLE"), as regions of crowds have it. Ids of categories have gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.errors import DataError, ValueProblem, brief
from anymodal.evaluation.layouts.base import Sample, Samples, photograph, read_annotations, rows, stamps
from anymodal.evaluation.layouts.coco import by_id, file_names, picture_name
from anymodal.families.boxes import clip_box

INSTANCES = "annotations/instances_val2017.json"
MOST_PIXELS = 2**26


class CocoInstances(Samples):
    """What both tasks share: annotations by picture, with the names of their categories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / INSTANCES
        raw = read_annotations(path)
        self.images = file_names(raw, path)
        self.classes = by_id(rows(raw, "categories", {"id": int, "name": str}, path), "name", path)
        self.annotations: dict[int, list[dict[str, Any]]] = {number: [] for number in self.images}
        for row in rows(raw, "annotations", {"image_id": int, "category_id": int, "bbox": list}, path):
            if row["category_id"] not in self.classes:
                raise DataError(f"{path} has an annotation of the category {row['category_id']} without a name")

            if row["image_id"] not in self.images:
                raise DataError(f"{path} has an annotation of the image {row['image_id']}, which it does not name")
            self.annotations[row["image_id"]].append(row)
        self.numbers = sorted(number for number, found in self.annotations.items() if self.counts(found))
        if not self.numbers:
            raise DataError(f"{path} has no instances")

    def counts(self, annotations: list[dict[str, Any]]) -> bool:
        """Whether a picture with these annotations is a sample."""
        return True

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, number: int) -> str:
        return f"{self.numbers[number]:012d}"

    def state(self, count: int) -> object:
        names = [self.images[number] for number in self.numbers[:count]]
        return stamps([self.root / INSTANCES, *(self.root / "val2017" / name for name in names)])

    def picture(self, number: int) -> np.ndarray:
        """The picture of a sample. Raises ValueProblem."""
        return photograph(self.root / "val2017" / picture_name(self.images, self.numbers[number]))


class CocoBoxes(CocoInstances):
    """Boxes in fractions of the picture, as 4M has them; crowds are marked. Pictures without any count, too."""

    def read(self, number: int) -> Sample:
        picture = self.picture(number)
        height, width = picture.shape[:2]
        found = [self._box(row, width, height) for row in self.annotations[self.numbers[number]]]
        return Sample({"rgb": picture}, {"instances": found})

    def _box(self, row: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
        corners = clip_box(corners_of(row, width, height))
        named = {"class_name": self.classes[row["category_id"]], "score": 1.0}
        return {"boxes": list(corners), **named, **({"iscrowd": 1} if is_crowd(row) else {})}


class CocoOutlines(CocoInstances):
    """Outlines with their classes, of all that are no crowds."""

    notes = ("crowds are left out, which are no single instance",)

    def counts(self, annotations: list[dict[str, Any]]) -> bool:
        return any(row.get("iscrowd") != 1 for row in annotations)

    def read(self, number: int) -> Sample:
        picture = self.picture(number)
        height, width = picture.shape[:2]
        single = [row for row in self.annotations[self.numbers[number]] if not is_crowd(row)]
        truth = [(self.classes[row["category_id"]], outline(row.get("segmentation"), width, height)) for row in single]
        return Sample({"rgb": picture}, truth)


def corners_of(row: Mapping[str, Any], width: int, height: int) -> list[float]:
    """A box [x, y, width, height] in pixels as corners in fractions. Raises ValueProblem."""
    box = row["bbox"]
    if len(box) != 4 or not are_numbers(box) or min(box[2:]) < 0:
        raise ValueProblem(f"a bbox is [x, y, width, height] in pixels, got {brief(box)}")
    x, y, w, h = box
    if x > width or y > height or x + w < 0 or y + h < 0:
        raise ValueProblem(f"the bbox {brief(box)} lies outside of its picture of {width} x {height}")
    return [x / width, y / height, (x + w) / width, (y + h) / height]


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all values are numbers of pixels, which are finite and small enough to compute with."""
    return all(type(each) in (int, float) and -MOST_PIXELS <= each <= MOST_PIXELS for each in values)


def is_crowd(row: Mapping[str, Any]) -> bool:
    """Whether an annotation is of a crowd. Raises ValueProblem for what is neither 0 nor 1."""
    stated = row.get("iscrowd") or 0
    if not isinstance(stated, (int, float)) or stated not in (0, 1):
        raise ValueProblem(f"iscrowd is 0 or 1, got {brief(stated)}")
    return stated == 1


def outline(shape: Any, width: int, height: int) -> Any:
    """A segmentation as outlines in fractions of the picture, or as a map (H, W). Raises ValueProblem."""
    if isinstance(shape, list) and shape:
        return {"outlines": [_polygon(each, width, height) for each in shape]}
    if isinstance(shape, Mapping) and "counts" in shape:
        if shape.get("size") != [height, width]:
            raise ValueProblem(f"a mask of size {brief(shape.get('size'))} is not of its picture, [{height}, {width}]")
        return filled_runs(shape["counts"], height, width)
    raise ValueProblem(f"a segmentation is polygons or runs, got {brief(shape)}")


def _polygon(numbers: Any, width: int, height: int) -> list[list[float]]:
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise ValueProblem(f"a polygon is [x, y, x, y, ..] of three points or more, got {brief(numbers)}")
    if not are_numbers(numbers):
        raise ValueProblem(f"a polygon is finite numbers of pixels, got {brief(numbers)}")
    points = np.array(numbers, np.float64).reshape(-1, 2) / (width, height)
    return list(points.clip(0, 1).tolist())


def filled_runs(counts: Any, height: int, width: int) -> np.ndarray:
    """The mask (H, W) uint8 of runs of 0 and 1 in turn, down the columns: a list, or COCO's text of them.

    Raises ValueProblem where they do not fill the picture.
    """
    runs = text_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= MOST_PIXELS for run in runs):
        raise ValueProblem(f"runs are whole numbers from 0, got {brief(counts)}")
    if sum(runs) != height * width:
        raise ValueProblem(f"runs fill {sum(runs)} pixels, and the picture has {height} x {width}")
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def text_runs(text: str) -> list[int]:
    """Runs from COCO's text: 5 bits a letter from "0" on, the sixth says that more follow, from the third number on
    differences to the one two before."""
    found: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueProblem(f"{letter!r} is no letter of runs")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value, shift = 0, 0
    return found
