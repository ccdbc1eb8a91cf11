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


def make_coco_instances(root: Path) -> Path:
    """Three pictures: polygons, one of two pieces, and one that a crowd covers; a crowd in runs; nothing."""
    for number, shape in ((139, (40, 60)), (285, (40, 40)), (632, (40, 40))):
        save(picture(*shape), root / f"val2017/{number:012d}.jpg")
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "height": 40, "width": width}
        for number, width in ((139, 60), (285, 40), (632, 40))
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}]
    runs = [400, 400, 800]  # 40 rows and 40 columns: the columns 10 to 19
    made = [
        (7, 139, 1, [12.0, 5.0, 18.0, 30.0], [[12.0, 5.0, 30.0, 5.0, 30.0, 35.0, 12.0, 35.0]], 0),
        (8, 139, 90, [35.0, 2.0, 13.0, 36.0],
         [[35.0, 2.0, 48.0, 2.0, 48.0, 12.0, 35.0, 12.0], [35.0, 30.0, 48.0, 30.0, 48.0, 38.0, 35.0, 38.0]], 0),
        (9, 139, 1, [0.0, 0.0, 5.0, 5.0], [[0.0, 0.0, 5.0, 0.0, 5.0, 5.0, 0.0, 5.0]], 0),  # left of the square
        (900100000285, 285, 1, [10.0, 0.0, 10.0, 40.0], {"counts": runs, "size": [40, 40]}, 1),
        (11, 285, 90, [20.0, 10.0, 10.0, 10.0], [[20.0, 10.0, 30.0, 10.0, 30.0, 20.0, 20.0, 20.0]], 0),
    ]  # fmt: skip
    keys = ("id", "image_id", "category_id", "bbox", "segmentation", "iscrowd")
    annotations = [dict(zip(keys, each, strict=True), area=100.0) for each in made]
    path = root / "annotations/instances_val2017.json"
    write(path, images=images, annotations=annotations, categories=categories)
    return root


def coco_images(root: Path, count: int, shape: tuple[int, int]) -> list[dict[str, object]]:
    """COCO's pictures of a shape, each of one color, with numbers far from 0; and what is said of them."""
    numbers = [139 + 146 * k for k in range(count)]
    for k, number in enumerate(numbers):
        save(np.full((*shape, 3), 20 + 40 * k, np.uint8), root / f"val2017/{number:012d}.jpg")
    return [{"id": n, "file_name": f"{n:012d}.jpg", "height": shape[0], "width": shape[1]} for n in numbers]


def make_nyu_classes(root: Path) -> Path:
    """The file of `make_nyu` with labels 0, 1, 2 and 894 of which the tables make walls, beds and props."""
    make_nyu(root)
    labels = np.zeros((3, 640, 480), np.uint16)  # columns, rows
    labels[1, 200:, :] = 1
    labels[1, 300:, 240:] = 2
    labels[2] = 894
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "a") as file:
        file["labels"] = labels
    names = np.empty((1, 40), object)
    names[0] = [np.array([f"class {k}"]) for k in range(1, 41)]
    names[0, [0, 3, 39]] = [np.array(["wall"]), np.array(["bed"]), np.array(["otherprop"])]
    numbers = np.full((1, 894), 40, np.uint8)
    numbers[0, :2] = 1, 4
    savemat(root / "classMapping40.mat", {"mapClass": numbers, "className": names})
    fewer = np.full((1, 40), 7.0)
    fewer[0, [0, 3]] = 12, 1
    words = np.empty((1, 13), object)
    words[0] = [np.array([w]) for w in ("Bed", "Books", "Ceiling", "Chair", "Floor", "Furniture", "Objects",
                                        "Picture", "Sofa", "Table", "TV", "Wall", "Window")]  # fmt: skip
    savemat(root / "class13Mapping.mat", {"classMapping13": {"labels": fewer, "names": words}})
    return root


def make_imagenet(root: Path, layout: str = "folders") -> Path:
    """Two classes; ILSVRC's own numbers of them are not in the order of their names."""
    base = root / ("ILSVRC/Data/CLS-LOC" if layout == "kaggle" else "")
    classes = ("n01440764", "n02123045")
    for synset in classes:
        for k in range(2):
            save(picture(8, 10), base / f"train/{synset}/{synset}_{k}.JPEG")
    truths = {1: "n02123045", 2: "n01440764", 3: "n02123045"}
    for number, synset in truths.items():
        folder = f"{synset}/" if layout == "folders" else ""
        save(picture(9, 8), base / f"val/{folder}ILSVRC2012_val_{number:08d}.JPEG")
    numbers = {"n01440764": 2, "n02123045": 1}
    if layout == "kit":
        kit = root / "ILSVRC2012_devkit_t12/data"
        kit.mkdir(parents=True)
        lines = "".join(f"{numbers[synset]}\n" for synset in truths.values())
        (kit / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
        rows = np.zeros((3, 1), [("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)])
        for k, (synset, number, children) in enumerate((("n01440764", 2, 0), ("n02123045", 1, 0), ("n00001740", 3, 2))):
            rows[k, 0] = (np.array([[float(number)]]), np.array([synset]), np.array([[children]]))
        savemat(kit / "meta.mat", {"synsets": rows})
    if layout == "kaggle":
        rows = [f"ILSVRC2012_val_{number:08d},{synset} 1 2 3 4 " for number, synset in truths.items()]
        (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    return root


FOCAL, SIDES = 60.0, (48, 64)  # of the pictures of 3DPW's miniature: width, height


def make_3dpw(root: Path) -> Path:
    """A sequence of two people and three pictures; one camera is not valid for both, one for the second."""
    rng = np.random.default_rng(3)
    for number in range(3):
        save(picture(64, 48), root / f"imageFiles/street_00/image_{number:05d}.jpg")
    bodies = rng.uniform(-0.5, 0.5, (2, 3, 24, 3)) + np.array([0.3, 0.2, 0.0])
    cameras = np.tile(np.eye(4), (3, 1, 1))
    cameras[:, :3, :3] = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]  # the world looks up and back
    cameras[:, :3, 3] = 0, 0, 4
    content = {
        "sequence": "street_00",
        "betas": [rng.standard_normal(10), rng.standard_normal(10)],
        "poses": list(rng.uniform(-1, 1, (2, 3, 72))),
        "jointPositions": [np.ascontiguousarray(body.reshape(3, 72)) for body in bodies],
        "cam_poses": cameras,
        "cam_intrinsics": np.array([[FOCAL, 0, 24], [0, FOCAL, 32], [0, 0, 1]]),
        "campose_valid": [np.array([1, 0, 1]), np.array([1, 0, 0])],
        "genders": ["m", "f"],
    }
    path = root / "sequenceFiles/test/street_00.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(as_python2(content))
    return root


def as_python2(value: object) -> bytes:
    """A pickle of protocol 2 as Python 2 wrote it: arrays by bytes that are texts there."""

    def spelled(value: object) -> bytes:
        if isinstance(value, np.ndarray):
            raw = value.tobytes()
            shape = b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in value.shape) + b"t"
            kind = value.dtype.str[1:].encode()
            begun = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            dtype = b"cnumpy\ndtype\nU" + bytes([len(kind)]) + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
            dtype += b"J\xff\xff\xff\xffK\x00tb"
            return begun + b"(K\x01" + shape + dtype + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
        if isinstance(value, str):
            return b"U" + bytes([len(value)]) + value.encode()
        if isinstance(value, list):
            return b"](" + b"".join(map(spelled, value)) + b"e"
        assert isinstance(value, dict)
        return b"}(" + b"".join(spelled(each) for pair in value.items() for each in pair) + b"u"

    return b"\x80\x02" + spelled(value) + b"."
