"""Boxes and outlines by the command, on miniatures of COCO and of one's own data, beside pycocotools.

The middle columns of pictures are the square that `tiny` sees.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anymodal_det import Box
from anymodal_sam_outlines import Instance
from known_model import LEFT, SHAPE, SIDE
from layouts_made import coco_images, write
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CATEGORIES = {1: "person", 3: "car", 90: "toothbrush"}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def squares(rng: np.random.Generator) -> list[tuple[int, int, int, int, int, int]]:
    """Rectangles (x, y, width, height, category, crowd) inside the square, in pixels of the picture."""
    rows = []
    for k in range(5):
        x, y = int(rng.integers(LEFT, LEFT + 5 * SIDE // 8)), int(rng.integers(0, 5 * SIDE // 8))
        w, h = rng.integers(SIDE // 8, 3 * SIDE // 8, 2).tolist()
        rows.append((x, y, w, h, int(rng.choice([1, 3, 90])), int(k == 4)))
    return rows


def runs(x: int, y: int, w: int, h: int) -> list[int]:
    """The rectangle as lengths of runs down the columns."""
    flat = np.zeros(SHAPE, np.uint8)
    flat[y : y + h, x : x + w] = 1
    edges = np.flatnonzero(np.diff(flat.T.ravel(), prepend=0, append=2))
    return np.diff(edges, prepend=0).tolist()


def coco_rows(root: Path, rng: np.random.Generator) -> list[list[tuple[int, int, int, int, int, int]]]:
    """Annotations of three pictures with gaps in their numbers; crowds and every other instance are runs."""
    images, pictures, annotations = coco_images(root, 3, SHAPE), [squares(rng) for _ in range(3)], []
    for image, rows in zip(images, pictures, strict=True):
        for k, (x, y, w, h, category, crowd) in enumerate(rows):
            polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            counts = runs(x, y, w, h)
            shape: Any = {"counts": counts, "size": list(SHAPE)}
            if k == 3:  # as text
                spelled = coco_mask.frPyObjects(shape, *SHAPE)["counts"]
                shape = {"counts": spelled.decode(), "size": list(SHAPE)}
            annotations.append(
                {
                    "id": 100 + len(annotations), "image_id": image["id"], "category_id": category,
                    "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd,
                    "segmentation": shape if crowd or k % 2 else polygon,
                }
            )  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    write(root / "annotations/instances_val2017.json", images=images, annotations=annotations, categories=categories)
    return pictures


def by_pycocotools(true: list[dict[str, Any]], found: list[dict[str, Any]], kind: str, side: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k, "height": side, "width": side} for k in range(3)],
            "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
            "annotations": [{**each, "id": k} for k, each in enumerate(true, 1)],
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(found), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return dict(zip(("ap", "ap50", "ap75"), (float(max(v, 0)) for v in judged.stats[:3]), strict=True))


def near(row: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A rectangle near another one, in pixels of the square."""
    x, y, w, h = np.array(row[:4]) + rng.integers(-(SIDE // 20), SIDE // 16, 4) - (LEFT, 0, 0, 0)
    x, y = max(0, int(x)), max(0, int(y))
    return x, y, min(int(w), SIDE - x), min(int(h), SIDE - y)


@pytest.mark.parametrize("task", ["det", "coco_det"])
def test_boxes(scored, tmp_path, rng, task):
    pictures = coco_rows(tmp_path, rng)
    if task == "det":
        (tmp_path / "val2017").rename(tmp_path / "rgb")
        for path, rows in zip(sorted((tmp_path / "rgb").iterdir()), pictures, strict=True):
            shares = [[x / SHAPE[1], y / SIDE, (x + w) / SHAPE[1], (y + h) / SIDE] for x, y, w, h, *_ in rows]
            named = [
                {"boxes": box, "class_name": CATEGORIES[row[4]], "score": 1.0, "iscrowd": row[5]}
                for box, row in zip(shares, rows, strict=True)
            ]
            write(tmp_path / f"det/{path.stem}.json", instances=named)
    said = [[(near(row, rng), row[4], float(rng.random())) for row in rows for _ in range(2)] for rows in pictures]
    true = [
        {"image_id": k, "category_id": c, "bbox": [x - LEFT, y, w, h], "area": w * h, "iscrowd": crowd}
        for k, rows in enumerate(pictures)
        for x, y, w, h, c, crowd in rows
    ]
    found = [
        {"image_id": k, "category_id": c, "bbox": list(box), "score": score}
        for k, each in enumerate(said)
        for box, c, score in each
    ]

    def predict(target: str, number: int, given: Any) -> list[Box]:
        rows = said[number]
        return [Box(*(each / SIDE for each in (x, y, x + w, y + h)), CATEGORIES[c], s) for (x, y, w, h), c, s in rows]

    scores = scored(task, tmp_path, predict)["scores"]["model"]
    expected = by_pycocotools(true, found, "bbox", SIDE)
    assert scores == pytest.approx(expected, abs=1e-6) and 0.1 < expected["ap"] < 0.9


def filled(x: float, y: float, w: float, h: float) -> np.ndarray:
    """A rectangle of the square, at 224 pixels a side."""
    centers = (np.arange(224) + 0.5) / 224 * SIDE
    return (((centers >= y) & (centers < y + h))[:, None] & ((centers >= x) & (centers < x + w))[None]).astype(np.uint8)


@pytest.mark.parametrize("task", ["instance", "coco_instance"])
def test_outlines(scored, tmp_path, rng, task):
    """Each is asked for by its box; a crowd is none, and for some nothing is drawn."""
    pictures = [[row for row in rows if not row[5]] for rows in coco_rows(tmp_path, rng)]
    if task == "instance":
        (tmp_path / "val2017").rename(tmp_path / "rgb")
        for path, rows in zip(sorted((tmp_path / "rgb").iterdir()), pictures, strict=True):
            shapes = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h, *_ in rows]
            outlines = [{"outlines": [[[a / SHAPE[1], b / SIDE] for a, b in shape]]} for shape in shapes]
            write(tmp_path / f"sam_instance/{path.stem}.json", instances=outlines)
    made, asked = [], []

    def predict(target: str, number: int, given: Any) -> list[Instance]:
        (box,) = given["start"]["sam_instance"]["boxes"]
        x0, y0, x1, y1 = np.array(box) * SIDE
        asked.append((number, (x0 + LEFT, y0, x1 - x0, y1 - y0)))
        shape = (x0, y0, (x1 - x0) * rng.uniform(0.5, 1), y1 - y0)
        made.append(None if len(asked) % 5 == 0 else shape)
        if made[-1] is None:
            return []
        x, y, w, h = shape
        return [Instance((np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]) / SIDE,))]

    scores = scored(task, tmp_path, predict)["scores"]
    rows = [(k, row) for k, each in enumerate(pictures) for row in each]
    for (number, box), (k, row) in zip(asked, rows, strict=True):
        assert number == k and np.allclose(box, row[:4], atol=0.8)  # runs have borders between pixels
    true, found, overlaps = [], [], []
    for (k, (x, y, w, h, category, _)), shape in zip(rows, made, strict=True):
        own = filled(x - LEFT, y, w, h)
        category = category if task == "coco_instance" else 1
        encoded = coco_mask.encode(np.asfortranarray(own))
        true.append({"image_id": k, "category_id": category, "segmentation": encoded, "area": int(own.sum()),
                     "iscrowd": 0, "bbox": [0, 0, 1, 1]})  # fmt: skip
        drawn = np.zeros_like(own) if shape is None else filled(*shape)
        overlaps.append((own & drawn).sum() / (own | drawn).sum())
        if shape is not None:
            segment = coco_mask.encode(np.asfortranarray(drawn))
            found.append({"image_id": k, "category_id": category, "segmentation": segment, "score": 1.0})
    expected = by_pycocotools(true, found, "segm", 224)
    assert scores["model"]["miou"] == pytest.approx(np.mean(overlaps), abs=0.02)
    assert scores["model"]["ap50"] == pytest.approx(expected["ap50"], abs=0.05)
    assert scores["constant"]["miou"] > 0.95  # all of them are boxes
    assert scores["shuffled"]["miou"] == pytest.approx(scores["model"]["miou"], abs=0.25)  # shares of boxes, moved
