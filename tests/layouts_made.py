"""Miniatures of published data sets in exactly their layout: a few pixels, and every trap of the format."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

RNG = np.random.default_rng(0)


def picture(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def write(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_diode(root: Path) -> Path:
    for scan, stem in (("indoors/scene_00019/scan_00183", "00019_00183_indoors_000_010"),
                       ("outdoor/scene_00022/scan_00193", "00022_00193_outdoor_000_000")):  # fmt: skip
        base = root / "val" / scan / stem
        save(picture(6, 8), base.with_name(f"{stem}.png"))
        depth = np.arange(48, dtype=np.float32).reshape(6, 8, 1)
        save(depth, base.with_name(f"{stem}_depth.npy"))
        mask = np.ones((6, 8))
        mask[:, :2] = 0
        save(mask, base.with_name(f"{stem}_depth_mask.npy"))
        normal = np.zeros((6, 8, 3))
        normal[1:] = (0.6, 0, 0.8)
        save(normal, base.with_name(f"{stem}_normal.npy"))
    return root


def make_nyu(root: Path) -> Path:
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:  # as h5py sees what MATLAB wrote
        images = np.zeros((3, 3, 640, 480), np.uint8)
        images[1, 0, 100, 50] = 200  # red, column 100, row 50
        depths = np.full((3, 640, 480), 2.5, np.float32)
        depths[1, 100, 50] = 7
        file["images"], file["depths"] = images, depths
    savemat(root / "splits.mat", {"testNdxs": np.array([[2], [3]]), "trainNdxs": np.array([[1]])})
    return root


def make_ade(root: Path) -> Path:
    root = root / "ADEChallengeData2016"
    save(picture(4, 5), root / "images/validation/ADE_val_00000001.jpg")
    labels = np.zeros((4, 5), np.uint8)
    labels[1], labels[2], labels[3] = 1, 2, 3
    save(labels, root / "annotations/validation/ADE_val_00000001.png")
    lines = [
        "Idx\tRatio\tTrain\tVal\tStuff\tName",
        "1\t0.15\t11664\t1172\t1\twall",
        "2\t0.1\t6046\t612\t1\tperson, someone",
        "3\t0.08\t8265\t796\t1\tautomobile, car",
    ]
    (root / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    return root


def make_coco(root: Path) -> Path:
    save(picture(4, 6), root / "val2017/000000000139.jpg")
    ids = np.zeros((4, 6), np.int64)
    ids[0], ids[1], ids[2, :3] = 3_226_956, 70_000, 255  # red first: R + 256 G + 65536 B
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    save(colors, root / "annotations/panoptic_val2017/000000000139.png")
    named = {1: "person", 90: "toothbrush", 199: "wall-other-merged", 500: "unicorn"}
    categories = [{"id": number, "name": name, "isthing": int(number < 100)} for number, name in named.items()]
    given = [(3_226_956, 199, 0), (70_000, 90, 1), (255, 500, 0)]
    segments = [{"id": number, "category_id": category, "iscrowd": crowd} for number, category, crowd in given]
    images = [{"id": 139, "file_name": "000000000139.jpg", "height": 4, "width": 6}]
    panoptic = {"image_id": 139, "file_name": "000000000139.png", "segments_info": segments}
    write(root / "annotations/panoptic_val2017.json", images=images, annotations=[panoptic], categories=categories)
    captions = [{"image_id": 139, "id": k, "caption": text} for k, text in enumerate(["A room.", "A wall\n"])]
    write(root / "annotations/captions_val2017.json", images=images, annotations=captions)
    return root
