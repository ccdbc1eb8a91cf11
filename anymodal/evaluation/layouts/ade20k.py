"""ADE20K as of its challenge (Zhou et al. 2017): `images/validation/*.jpg`, `annotations/validation/*.png`.

An annotation is an 8-bit PNG in which 0 is none of the classes and k is the class k of `objectInfo150.txt`, from 1 on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymodal.errors import DataError, ValueProblem
from anymodal.evaluation.layouts.base import (
    NONE,
    FileSamples,
    Sample,
    class_table,
    listed,
    lost_note,
    photograph,
    stamps,
)
from anymodal.families.picture_files import read_picture
from anymodal.families.pictures import ids_of
from anymodal.files import naming, read_text

INFO = "objectInfo150.txt"


class Ade20k(FileSamples):
    """Classes by their names in the numbering of a model; pixels of classes that it does not have are 255."""

    layout = "images/validation/*.jpg, annotations/validation/*.png and objectInfo150.txt"

    def __init__(self, root: Path, known: tuple[str, ...]) -> None:
        super().__init__(root, listed(root, "images/validation/*.jpg"))
        names = class_names(root / INFO)
        found, lost = class_table(names, known)
        if not found:
            raise DataError(
                f"none of the classes of {root / INFO} is one of the model's, such as {', '.join(known[:3])}"
            )
        self.notes = lost_note(lost, len(names))
        self.stated = {0, *names}
        self.table = np.full(NONE + 1, NONE, np.uint8)
        for number, own in found.items():
            self.table[number] = own

    def parts(self, number: int) -> list[Path]:
        picture = self.root / self.files[number]
        return [picture, self.root / "annotations/validation" / f"{picture.stem}.png"]

    def state(self, count: int) -> object:
        return [super().state(count), stamps([self.root / INFO])]

    def read(self, number: int) -> Sample:
        place, path = self.parts(number)
        picture = photograph(place)
        with naming(path):
            ids = ids_of(read_picture(path))
        if ids.shape != picture.shape[:2]:
            raise ValueProblem(f"{path} has {ids.shape} pixels, and its picture {picture.shape[:2]}")
        if strange := set(np.unique(ids).tolist()) - self.stated:
            raise ValueProblem(f"{path} has the class {max(strange)}, which {INFO} has not")
        return Sample({"rgb": picture}, self.table[ids])


def class_names(path: Path) -> dict[int, list[str]]:
    """The names of each class by its number, from a table with tabs between. Raises DataError."""
    try:
        lines = read_text(path).splitlines()
        rows = [line.split("\t") for line in lines[1:] if line.strip()]
        names = {int(row[0]): [name.strip() for name in row[-1].split(",")] for row in rows}
        if len(names) < len(rows) or not all(0 < number < NONE for number in names):
            raise ValueError(f"classes have numbers of their own, from 1 to {NONE - 1}")
    except (ValueProblem, ValueError, IndexError) as error:
        raise DataError(f"{path} is no table of classes: {error!s:.200}") from None
    return names
