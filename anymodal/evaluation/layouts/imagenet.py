"""ImageNet-1K (ILSVRC 2012; Russakovsky et al. 2015): `train/nXXXXXXXX/*.JPEG`, and `val` in one of three layouts.

`val/nXXXXXXXX/*.JPEG` in folders as of the training part; `val/ILSVRC2012_val_00000001.JPEG` with the development
kit's `ILSVRC2012_validation_ground_truth.txt`, whose numbers are the ILSVRC2012_ID of `meta.mat` and no order of names;
or with Kaggle's `LOC_val_solution.csv`. ROOT, or ROOT/Data/CLS-LOC and ROOT/ILSVRC/Data/CLS-LOC, hold both parts.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from anymodal.data.digest import digest
from anymodal.errors import DataError, PluginError, ValueProblem, cause, one_line
from anymodal.evaluation.layouts.base import FileSamples, Sample, listed, photograph
from anymodal.files import read_text

BASES = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
KITS = ("", "data", "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12/data", "devkit", "devkit/data")
TRUTH, META, SOLUTION = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "LOC_val_solution.csv"
SYNSET = re.compile(r"n\d{8}")
SUFFIXES = (".jpeg", ".jpg", ".png")


class ImagenetPictures(FileSamples):
    """Pictures with the synset of each, by its path below the root, as the truth."""

    def __init__(self, root: Path, synsets: Mapping[str, str]) -> None:
        super().__init__(root, list(synsets))
        self.synsets = synsets

    def state(self, count: int) -> object:
        """As the base says, with the truths, which other files may state."""
        return [super().state(count), digest([self.synsets[name] for name in self.files[:count]])]

    def read(self, number: int) -> Sample:
        name = self.files[number]
        return Sample({"rgb": photograph(self.root / name)}, self.synsets[name])


def base_of(root: Path) -> Path:
    """The folder of `train` and `val`. Raises DataError."""
    for base in BASES:
        if (root / base / "train").is_dir() and (root / base / "val").is_dir():
            return root / base
    raise DataError(f"{root} has no folders train and val, neither itself nor in Data/CLS-LOC")


def training_pictures(root: Path, each: int = 0) -> ImagenetPictures:
    """The training part; only the first `each` of every class by name, 0 for all. Raises DataError."""
    base = base_of(root)
    found = {
        f"train/{synset}/{name}": synset
        for synset in synsets(base / "train")
        for name in pictures(base / "train" / synset)[: each or None]
    }
    if not found:
        raise DataError(f"{base / 'train'} has no pictures in folders such as n01440764")
    return ImagenetPictures(base, found)


def validation_pictures(root: Path) -> ImagenetPictures:
    """The validation part, in whichever layout it has. Raises DataError."""
    base = base_of(root)
    if folders := synsets(base / "val"):
        found = {f"val/{synset}/{name}": synset for synset in folders for name in pictures(base / "val" / synset)}
    else:
        names = pictures(base / "val")
        truths = stated(root, base, names)
        found = {f"val/{name}": truths[name] for name in names}
    if not found:
        raise DataError(f"{base / 'val'} has no pictures")
    if strange := sorted(set(found.values()) - set(synsets(base / "train"))):
        raise DataError(f"{base / 'val'} has the class {strange[0]}, which {base / 'train'} has not")
    return ImagenetPictures(base, found)


def synsets(folder: Path) -> list[str]:
    """The folders that are named like synsets. Raises DataError."""
    return sorted(name for name in listed(folder, "n*") if SYNSET.fullmatch(name) and (folder / name).is_dir())


def pictures(folder: Path) -> list[str]:
    """The names of the pictures in a folder. Raises DataError."""
    try:
        with os.scandir(folder) as entries:
            return sorted(each.name for each in entries if each.name.lower().endswith(SUFFIXES) and each.is_file())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {cause(error)}") from None


def stated(root: Path, base: Path, names: Sequence[str]) -> dict[str, str]:
    """The synset of each picture of a flat folder, by the kit's files or Kaggle's. Raises DataError."""
    for folder in dict.fromkeys([root, base, *(root / kit for kit in KITS), *(base / kit for kit in KITS)]):
        if (folder / SOLUTION).is_file():
            return by_solution(folder / SOLUTION, names)
        if (folder / TRUTH).is_file() and (folder / META).is_file():
            return by_kit(folder / TRUTH, folder / META, names)
    raise DataError(f"{base / 'val'} has no folders of classes; put the development kit, or {SOLUTION}, into {root}")


def by_solution(path: Path, names: Sequence[str]) -> dict[str, str]:
    """From rows "ILSVRC2012_val_00048981,n03995372 85 1 499 272" (synset, then boxes)."""
    try:
        rows = list(csv.reader(io.StringIO(read_text(path))))
    except (ValueProblem, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error!s:.200}") from None
    known = {row[0]: row[1].split()[0] for row in rows[1:] if len(row) > 1 and row[1].split()}
    lacking = [name for name in names if not SYNSET.fullmatch(known.get(Path(name).stem, ""))]
    if lacking:
        raise DataError(f"{path} does not say the class of {lacking[0]}")
    return {name: known[Path(name).stem] for name in names}


def by_kit(truth: Path, meta: Path, names: Sequence[str]) -> dict[str, str]:
    """From the number of each picture's line to the synset with that ILSVRC2012_ID."""
    synset_of = synsets_by_number(meta)
    try:
        numbers = [int(line) for line in read_text(truth).split()]
    except (ValueProblem, ValueError) as error:
        raise DataError(f"{truth} is no list of numbers: {error!s:.200}") from None
    found = {}
    for name in names:
        digits = re.search(r"(\d{8})$", Path(name).stem)
        place = int(digits[1]) if digits else 0
        if not 0 < place <= len(numbers) or numbers[place - 1] not in synset_of:
            raise DataError(f"{truth} and {meta.name} do not say the class of {name}")
        found[name] = synset_of[numbers[place - 1]]
    return found


def synsets_by_number(path: Path) -> dict[int, str]:
    """The synsets without children in `meta.mat`, by their ILSVRC2012_ID. Raises DataError, and PluginError."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise PluginError("the development kit of ImageNet is read by scipy; pip install 'anymodal[eval]'") from None
    try:
        rows = loadmat(path, squeeze_me=True, variable_names=["synsets"])["synsets"]
        found = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows.ravel() if not int(row["num_children"])}
    except Exception as error:  # the reader of damaged files raises whatever they lead it to
        raise DataError(f"{path} has no synsets that can be read: {one_line(error, 200)}") from None
    if not found or not all(SYNSET.fullmatch(name) for name in found.values()):
        raise DataError(f"{path} has no synsets without children")
    return found
