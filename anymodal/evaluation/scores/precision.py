"""Average precision of boxes and masks, by faster-coco-eval, which computes what COCO's own evaluation does.

What was found and what is true is kept as COCO's own files have it, some tens of bytes a box, until the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from anymodal.errors import PluginError
from anymodal.evaluation.metrics import Means, Metric
from anymodal.families.boxes import box_iou, match
from anymodal.text import words_of

SIDE = 1000  # of the picture that boxes are measured in
MASK = 224  # pixels a side that masks are compared at
MOST = 100  # of one picture that count
SCORES = ("ap", "ap50", "ap75")


def check_library() -> None:
    """Raise PluginError where faster-coco-eval is not installed."""
    if find_spec("faster_coco_eval") is None:
        raise PluginError("average precision is computed by faster-coco-eval; pip install 'anymodal[eval]'")


class Precision(Metric):
    """Annotations and detections as COCO has them, and what its evaluation says of them; `kind` is bbox or segm."""

    kind, side = "bbox", SIDE

    def __init__(self) -> None:
        check_library()
        self.pictures = 0
        self.true: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []
        self.means = Means()

    def add(self, true: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
        """Add a picture: rows with a `class`, and a `bbox` or a `segmentation`; `iscrowd` of true, `score` of found."""
        self.pictures += 1
        self.true += [{**row, "image_id": self.pictures} for row in true]
        best = sorted(found, key=lambda row: -row["score"])
        self.found += [{**row, "image_id": self.pictures} for row in best]

    def precision(self) -> dict[str, float]:
        """`ap` over overlaps from 0.50 to 0.95, `ap50` and `ap75` (Lin et al. 2014, arXiv 1405.0312); 0 for none."""
        from faster_coco_eval import COCO, COCOeval_faster

        classes = {name: number for number, name in enumerate(sorted({row["class"] for row in self.true}), 1)}
        known = [row for row in self.found if row["class"] in classes]
        if not known or not any(not row["iscrowd"] for row in self.true):
            return dict.fromkeys(SCORES, 0.0)
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k + 1, "height": self.side, "width": self.side} for k in range(self.pictures)],
            "categories": [{"id": number, "name": name} for name, number in classes.items()],
            "annotations": [self._row(row, classes) | {"id": k} for k, row in enumerate(self.true, 1)],  # 0 is no id
        }
        truth.createIndex()
        judged = COCOeval_faster(
            truth, truth.loadRes([self._row(row, classes) for row in known]), self.kind, print_function=_quiet
        )
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        return {name: max(float(value), 0.0) for name, value in zip(SCORES, judged.stats, strict=False)}

    def _row(self, row: Mapping[str, Any], classes: Mapping[str, int]) -> dict[str, Any]:
        return {**{k: v for k, v in row.items() if k != "class"}, "category_id": classes[row["class"]]}

    def state(self) -> dict[str, Any]:
        return {"pictures": self.pictures, "true": self.true, "found": self.found, "means": self.means.state()}

    def merge(self, state: Mapping[str, Any]) -> None:
        for key, own in (("true", self.true), ("found", self.found)):
            own += [{**row, "image_id": int(row["image_id"]) + self.pictures} for row in state[key]]
        self.pictures += int(state["pictures"])
        self.means.merge(state["means"])


class BoxPrecision(Precision):
    """Average precision of boxes. Classes go by their words; boxes in a crowd of the truth are passed over.

    Models that write boxes as text do not say how sure they are: of equal scores the first written comes first.
    """

    def update(self, prediction: Any, truth: Any) -> float | None:
        """Boxes with `corners` in 0..1, a `class_name`, a `score`, and `crowd`; the own score is the F1 at IoU 0.5."""
        self.add([_true_box(b) for b in truth], [_box(b) | {"score": float(b.score)} for b in prediction])
        return agreement(prediction, [b for b in truth if not b.crowd])

    def compute(self) -> dict[str, float]:
        return self.precision() if self.pictures else {}


def _box(box: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = (SIDE * v for v in box.corners)
    return {"class": " ".join(words_of(box.class_name)), "bbox": [x0, y0, x1 - x0, y1 - y0]}


def _true_box(box: Any) -> dict[str, Any]:
    return _box(box) | {"area": SIDE * SIDE * box.area, "iscrowd": int(box.crowd)}


def agreement(found: Sequence[Any], true: Sequence[Any]) -> float:
    """F1 of the boxes of one picture that overlap by at least one half with one of the same class."""
    if not found and not true:
        return 1.0
    same = [[words_of(a.class_name) == words_of(b.class_name) for b in true] for a in found]
    overlaps = box_iou([a.corners for a in found], [b.corners for b in true]) * np.array(same).reshape(
        len(found), len(true)
    )
    return 2 * sum(overlaps[pair] >= 0.5 for pair in match(overlaps)) / (len(found) + len(true))


class OutlinePrecision(Precision):
    """Overlap and average precision of masks that were asked for by the true box, one for each true instance.

    `miou` is the mean overlap over all instances, 0 where no mask was made. The precision takes the class of the true
    instance, which was asked for, and all as equally sure.
    """

    kind, side = "segm", MASK

    def update(self, prediction: Any, truth: Any) -> float | None:
        """An instance or None for each of several `QueriedInstance`; or "box" for what fills the box."""
        from faster_coco_eval.core import mask

        if not truth:
            return None
        true, found, overlaps = [], [], []
        for k, each in enumerate(truth):
            own = each.value[0].pixels(MASK, MASK)
            if isinstance(prediction, str):
                made = each.box_pixels(MASK)
            else:
                made = np.zeros_like(own) if prediction[k] is None else prediction[k].pixels(MASK, MASK)
            union = int((own | made).sum())
            overlaps.append(int((own & made).sum()) / union if union else 0.0)
            shapes = [mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (own, made)]
            rle = [{"size": list(s["size"]), "counts": s["counts"].decode("ascii")} for s in shapes]
            named = {"class": each.class_name}
            true.append(named | {"segmentation": rle[0], "area": float(own.sum()), "iscrowd": 0, "bbox": _around(own)})
            if made.any():
                found.append(named | {"segmentation": rle[1], "score": 1.0})
        self.add(true, found)
        self.means.add("miou", sum(overlaps), len(overlaps))
        return sum(overlaps) / len(overlaps)

    def compute(self) -> dict[str, float]:
        return {"miou": self.means["miou"], **self.precision()} if self.pictures else {}


def _around(pixels: np.ndarray) -> list[float]:
    """The box [x, y, width, height] around the pixels of a mask."""
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    if not len(rows):
        return [0.0, 0.0, 0.0, 0.0]
    return [float(v) for v in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)]


def _quiet(*words: Any) -> None:
    """What the library prints with."""
