"""Average precision and overlaps: equal to pycocotools on made data, whatever comes in pieces."""

from __future__ import annotations

import contextlib
import io
import json

import attrs
import numpy as np
import pytest
from anymodal_det import Box
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anymodal.evaluation.layouts.coco_instances import filled_runs, text_runs
from anymodal.evaluation.scores.precision import MASK, BoxPrecision, OutlinePrecision
from anymodal.evaluation.tasks.outlines import QueriedInstance


def by_pycocotools(annotations: list[dict], detections: list[dict], kind: str, pictures: int, side: int) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k, "height": side, "width": side} for k in range(1, pictures + 1)],
            "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
            "annotations": [{**each, "id": k} for k, each in enumerate(annotations, 1)],
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(detections), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(v) for v in judged.stats[:3]]


NAMES = {"car": 1, "dog": 2}


def drawn(rng: np.random.Generator) -> tuple[list[Box], list[Box]]:
    """True boxes, some of them crowds, and detections near them, some of another class."""
    true, found = [], []
    for _ in range(rng.integers(0, 6)):
        x, y, w, h = rng.uniform(0, 0.5, 4) + (0, 0, 0.05, 0.05)
        name = str(rng.choice(list(NAMES)))
        true.append(Box(x, y, x + w, y + h, name, crowd=bool(rng.random() < 0.2)))
        for _ in range(rng.integers(0, 3)):
            corners = np.clip(np.array(true[-1].corners) + rng.normal(0, 0.03, 4), 0, 1)
            corners[2:] = np.maximum(corners[2:], corners[:2])
            said = name if rng.random() < 0.8 else str(rng.choice([*NAMES, "unicorn"]))
            found.append(Box(*corners.tolist(), said, float(rng.random())))
    return true, found


def boxed(box: Box) -> dict:
    x0, y0, x1, y1 = (1000 * v for v in box.corners)
    return {"category_id": NAMES[box.class_name], "bbox": [x0, y0, x1 - x0, y1 - y0]}


def test_precision_of_boxes_is_that_of_pycocotools():
    rng = np.random.default_rng(0)
    pictures = [drawn(rng) for _ in range(12)]
    whole, parts = BoxPrecision(), [BoxPrecision(), BoxPrecision()]
    annotations, detections = [], []
    for k, (true, found) in enumerate(pictures, 1):
        whole.update(found, true)
        parts[k > 5].update(found, true)
        for box in true:
            area = 1e6 * box.area
            annotations.append({**boxed(box), "image_id": k, "iscrowd": int(box.crowd), "area": area})
        known = sorted((b for b in found if b.class_name in NAMES), key=lambda b: -b.score)
        detections += [{**boxed(box), "image_id": k, "score": box.score} for box in known]
    expected = by_pycocotools(annotations, detections, "bbox", len(pictures), 1000)
    assert list(whole.compute().values()) == pytest.approx(expected, abs=1e-12) and 0.1 < expected[0] < 0.9
    joined = BoxPrecision()
    for part in parts:
        joined.merge(json.loads(json.dumps(part.state())))
    assert joined.compute() == whole.compute()


def test_boxes_without_any_found_or_any_true_have_no_precision():
    assert BoxPrecision().compute() == {}
    metric = BoxPrecision()
    assert metric.update([], [Box(0, 0, 1, 1, "car")]) == 0 and metric.compute()["ap"] == 0
    assert metric.update([], []) == 1 and metric.update([Box(0, 0, 1, 1, "car")], []) == 0
    assert metric.update([Box(0, 0, 1, 1, "Car")], [Box(0, 0, 1, 0.9, "car")]) == 1


@attrs.frozen(eq=False)
class Square:
    """An instance as far as masks need one."""

    box: tuple[float, float, float, float]

    def pixels(self, width: int, height: int) -> np.ndarray:
        x0, y0, x1, y1 = (round(v * width) for v in self.box)
        found = np.zeros((height, width), bool)
        found[y0:y1, x0:x1] = True
        return found


def test_overlaps_and_precision_of_masks_are_those_of_pycocotools():
    rng = np.random.default_rng(1)
    metric, overlaps, annotations, detections = OutlinePrecision(), [], [], []
    for k in range(1, 6):
        corners = np.sort(rng.uniform(0, 1, (4, 2, 2)), 1).reshape(4, 4)
        true = [QueriedInstance([Square(tuple(c))], str(rng.choice(list(NAMES)))) for c in corners.tolist()]
        made = [Square(tuple(np.clip(c + rng.normal(0, 0.05, 4), 0, 1))) for c in corners]
        asked = [*made[:3], None]
        metric.update(asked, true)
        for each, own in zip(true, asked, strict=True):
            masks = [x.pixels(MASK, MASK) for x in (each.value[0], own or Square((0, 0, 0, 0)))]
            overlaps.append((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
            runs = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
            named = {"image_id": k, "category_id": NAMES[each.class_name]}
            area = float(masks[0].sum())
            annotations.append({**named, "segmentation": runs[0], "iscrowd": 0, "area": area, "bbox": [0, 0, 1, 1]})
            if masks[1].any():
                detections.append({**named, "segmentation": runs[1], "score": 1.0})
    expected = by_pycocotools(annotations, detections, "segm", 5, MASK)
    found = metric.compute()
    assert found["miou"] == pytest.approx(np.mean(overlaps))
    assert [found[name] for name in ("ap", "ap50", "ap75")] == pytest.approx(expected, abs=1e-12)
    assert metric.update("box", true) == pytest.approx(1, abs=0.1)  # they fill their boxes, but for half pixels
    assert metric.update([], []) is None


def test_runs_are_those_of_pycocotools():
    rng = np.random.default_rng(2)
    for density in (0.02, 0.5, 0.98):
        mask = (rng.random((37, 53)) < density).astype(np.uint8)
        text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
        assert np.array_equal(filled_runs(text, 37, 53), mask)
        assert sum(text_runs(text)) == mask.size
