"""Every task of depth, normals and classes by the command, on miniatures, beside numpy and scikit-learn.

The middle columns of pictures are the square that `tiny` sees, pixel by pixel; NYUv2's have their own size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from anymodal_semseg import Semseg
from known_model import LEFT, SHAPE, SIDE
from layouts_made import make_nyu, make_nyu_classes, save, write
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

SQUARE, NONE = np.s_[:, LEFT : LEFT + SIDE], 255
CLASSES = Semseg.classes
PERSON, CAR, BED, WALL = (CLASSES.index(name) for name in ("person", "car", "bed", "wall-other-merged"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def photograph(path: Path) -> None:
    save(np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8), path)


def diode_stem(root: Path, number: int) -> Path:
    return root / f"val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_{number:03d}"


# Depth.


def depth_files(task: str, root: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """Two pictures in a layout; the true depths of the squares in meters, 0 where nothing was measured."""
    truths = []
    for number in range(2):
        depth = rng.uniform(0.5, 40, SHAPE).astype(np.float32)
        measured = rng.random(SHAPE) < 0.7
        if task == "depth":
            photograph(root / f"rgb/{number}.png")
            save(np.where(measured, depth, 0), root / f"depth/{number}.npy")
        else:
            stem = diode_stem(root, number)
            photograph(stem.with_name(f"{stem.name}.png"))
            save(depth[..., None], stem.with_name(f"{stem.name}_depth.npy"))  # where nothing was measured, too
            save(measured.astype(float), stem.with_name(f"{stem.name}_depth_mask.npy"))
        truths.append(np.where(measured, depth, 0)[SQUARE].astype(float))
    return truths


def least_squares(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    columns = np.stack([source, np.ones_like(source)], 1)
    return columns @ np.linalg.lstsq(columns, target, rcond=None)[0]


def standard(depth: np.ndarray) -> np.ndarray:
    middle = np.sort(depth)[int(len(depth) * 0.1) : int(len(depth) * 0.9)]
    return (depth - middle.mean()) / np.sqrt(middle.var() + 1e-6)


@pytest.mark.parametrize("task", ["depth", "diode_depth"])
def test_depth(scored, tmp_path, rng, task):
    truths = depth_files(task, tmp_path, rng)
    made = [np.abs(np.where(t > 0, t, 5) * 1.3 + rng.normal(1, 2, t.shape)) + 0.1 for t in truths]
    rows = []
    for prediction, truth in zip(made, truths, strict=True):
        p, t = prediction[truth > 0], truth[truth > 0]
        by = {
            "metric": p,
            "scale": p * np.median(t) / np.median(p),
            "scale_shift": least_squares(p, t),
            "scale_shift_disparity": 1 / np.maximum(least_squares(1 / p, 1 / t), 1 / t.max()),
        }
        row = {f"abs_rel_{name}": np.mean(np.abs(a - t) / t) for name, a in by.items()}
        ratios = {name: np.maximum(np.maximum(a, 1e-6) / t, t / np.maximum(a, 1e-6)) for name, a in by.items()}
        row |= {f"delta1_{name}": np.mean(ratio < 1.25) for name, ratio in ratios.items()}
        row |= {f"rmse_{name}": np.mean((a - t) ** 2) for name, a in by.items()}
        rows.append(row | {"std_l1": np.mean(np.abs(standard(p) - standard(t)))})
    expected = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    expected |= {name: value**0.5 for name, value in expected.items() if name.startswith("rmse")}
    found = scored(task, tmp_path, lambda target, number, given: made[number].astype(np.float32))
    assert found["samples"] == 2 and found["scores"]["model"] == pytest.approx(expected, rel=1e-5)
    assert found["scores"]["bound"]["abs_rel_metric"] < found["scores"]["shuffled"]["abs_rel_metric"]


def test_nyu_depth_has_meters_and_no_border(scored, tmp_path):
    """Whatever lies beside the part that is measured: a wrong axis, unit or blend with nothing would change this."""
    root = make_nyu(tmp_path)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "a") as file:
        file["depths"][:] = 2.5
        file["depths"][1, :320], file["depths"][2] = 4.0, 10.0  # left half of the first test picture: columns first
        file["depths"][:, :, :45] = file["depths"][:, :, 471:] = 1000  # rows beside the part that counts
    half = np.full((SIDE, SIDE), 3.0, np.float32)
    half[:, : SIDE // 2] = 4.0
    found = scored("nyu_depth", root, lambda target, number, given: half if number == 0 else half * 0 + 8)
    first = 0.2 / 2  # of the columns of the right half, which is 3 instead of 2.5
    assert found["scores"]["model"]["abs_rel_metric"] == pytest.approx((first + 0.2) / 2, rel=1e-5)
    assert found["scores"]["model"]["rmse_metric"] == pytest.approx(((0.25 / 2 + 4) / 2) ** 0.5, rel=1e-5)


# Normals.


@pytest.mark.parametrize("task", ["normal", "diode_normal"])
def test_normals(scored, tmp_path, rng, task):
    truths, made, angles = [], [], []
    for number in range(2):
        normal = rng.standard_normal((*SHAPE, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        normal[rng.random(SHAPE) < 0.3] = 0  # no surface
        if task == "normal":
            photograph(tmp_path / f"rgb/{number}.png")
            save(normal.astype(np.float32), tmp_path / f"normal/{number}.npy")
        else:
            stem = diode_stem(tmp_path, number)
            photograph(stem.with_name(f"{stem.name}.png"))
            save(normal, stem.with_name(f"{stem.name}_normal.npy"))
        truths.append(normal[SQUARE])
        near = truths[-1] + rng.normal(0, 0.3, truths[-1].shape)
        near[::4] = 0  # nothing is predicted
        made.append(near.astype(np.float32))
        seen = truths[-1].any(-1)
        p, t = near[seen], truths[-1][seen]
        length = np.linalg.norm(p, axis=1)
        cosines = np.divide((p * t).sum(1), length, out=np.zeros_like(length), where=length > 0)
        angles.append(np.degrees(np.arccos(cosines.clip(-1, 1))))
    every = np.concatenate(angles)
    found = scored(task, tmp_path, lambda target, number, given: made[number])["scores"]["model"]
    assert found["mean_angle"] == pytest.approx(every.mean(), rel=1e-5)
    assert found["median_angle"] == pytest.approx(np.median(every), abs=0.02)
    for limit in (11.25, 22.5, 30.0):
        assert found[f"within_{limit:g}"] == pytest.approx(np.mean(every < limit), abs=1e-3)


# Classes.


def class_files(task: str, root: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """Two pictures in a layout; the true classes of the squares as the model counts them, 255 for none."""
    truths, panoptic = [], []
    for number in range(2):
        if task == "semseg":
            photograph(root / f"rgb/{number}.png")
            truth = rng.choice([PERSON, CAR, BED, NONE], SHAPE).astype(np.uint8)
            save(truth, root / f"semseg/{number}.png")
        elif task == "ade20k_semseg":
            photograph(root / f"images/validation/ADE_val_{number:08d}.jpg")
            labels = rng.integers(0, 4, SHAPE).astype(np.uint8)  # 0 is none, and numbers go from 1
            save(labels, root / f"annotations/validation/ADE_val_{number:08d}.png")
            truth = np.array([NONE, NONE, PERSON, CAR])[labels]  # the model has several kinds of walls
        else:
            photograph(root / f"val2017/{number:012d}.jpg")
            part = rng.integers(0, 4, SHAPE)
            ids = np.array([0, 255, 70_000, 3_226_956])[part]  # 0 is void
            colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
            save(colors, root / f"annotations/panoptic_val2017/{number:012d}.png")
            segments = [(255, 1, 0), (70_000, 3, 1), (3_226_956, 500, 0)]  # a crowd counts, a unicorn is unknown
            keys = ("id", "category_id", "iscrowd")
            info = [dict(zip(keys, each, strict=True)) for each in segments]
            panoptic.append({"image_id": number, "file_name": f"{number:012d}.png", "segments_info": info})
            truth = np.array([NONE, PERSON, CAR, NONE])[part]
        truths.append(truth[SQUARE])
    if task == "ade20k_semseg":
        names = ("wall", "person, someone", "automobile, car")
        rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName", *(f"{k}\t0\t0\t0\t1\t{n}" for k, n in enumerate(names, 1))]
        (root / "objectInfo150.txt").write_text("\n".join(rows) + "\n")
    if task == "coco_semseg":
        named = {1: "person", 3: "car", 500: "unicorn"}
        write(
            root / "annotations/panoptic_val2017.json",
            images=[{"id": k, "file_name": f"{k:012d}.jpg", "height": SHAPE[0], "width": SHAPE[1]} for k in range(2)],
            annotations=panoptic,
            categories=[{"id": number, "name": name, "isthing": 1} for number, name in named.items()],
        )
    return truths


def by_sklearn(made: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float]:
    t, p = (np.concatenate([each.ravel() for each in some]) for some in (truths, made))
    t, p = t[t != NONE], p[t != NONE]
    how: dict[str, Any] = {"labels": np.unique(t), "average": "macro", "zero_division": 0}
    scores = {"miou": jaccard_score(t, p, **how), "mean_accuracy": recall_score(t, p, **how)}
    return scores | {"accuracy": accuracy_score(t, p)}


@pytest.mark.parametrize("task", ["semseg", "ade20k_semseg", "coco_semseg"])
def test_classes(scored, tmp_path, rng, task):
    truths = class_files(task, tmp_path, rng)
    wrong = [rng.choice([PERSON, CAR, BED, NONE], t.shape) for t in truths]
    made = [np.where(rng.random(t.shape) < 0.6, t, w).astype(np.uint8) for t, w in zip(truths, wrong, strict=True)]
    found = scored(task, tmp_path, lambda target, number, given: made[number])
    assert found["samples"] == 2 and found["scores"]["model"] == pytest.approx(by_sklearn(made, truths))


@pytest.mark.parametrize("classes", [40, 13])
def test_nyu_classes_by_either_mapping(scored, tmp_path, rng, classes):
    """Of the miniature's pictures one has walls and a bed, where column 200 and 300 and row 240 are."""
    root = make_nyu_classes(tmp_path)
    truth = np.full((SIDE, SIDE), NONE)
    middles = (np.arange(SIDE) + 0.5) * 480 / SIDE  # 480 rows, and as many columns from 80 on, are the square
    truth[:, middles > 200 - 80] = WALL
    truth[np.ix_(middles > 240, middles > 300 - 80)] = BED
    brick = CLASSES.index("wall-brick")  # a wall as well
    made = rng.choice([WALL, brick, BED, CAR], truth.shape)
    found = scored("nyu_semseg", root, lambda target, number, given: made.astype(np.uint8), "--option",
                   f"classes={classes}")  # fmt: skip
    counted = np.where(made == brick, WALL, made)
    assert found["scores"]["model"] == pytest.approx(by_sklearn([counted], [truth]))
    assert found["samples"] == 1 and found["problems"][0]["kind"] == "empty truth"
