"""Every task of texts, people, vectors and pictures by the command, on miniatures, by others' code.

The middle columns of COCO's pictures are the square that `tiny` sees.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest
from aligned_layouts import as_folder, as_tars, samples
from anymodal_human_poses import HumanPoses
from known_model import LEFT, SHAPE, SIDE
from layouts_made import coco_images, make_3dpw, make_imagenet, save, write
from PIL import Image
from scipy.linalg import sqrtm
from scipy.spatial.transform import Rotation
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from anymodal.evaluation.extractors import EXTRACTORS, FeatureExtractor
from anymodal.evaluation.layouts.aligned import FoundSamples, NamedSamples
from anymodal.evaluation.layouts.array_pickles import read_array_pickle
from anymodal.evaluation.layouts.three_dpw import ThreeDpw


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


# Captions.

TRUE = [["A red car on a road.", "a car"], ["Two dogs\n", "a dog and a dog on the grass"]]
SAID = ["a car on the road", "two dogs on a road"]


def bleu(pairs: list[tuple[list[str], list[list[str]]]], most: int) -> float:
    """Papineni et al. 2002, over all texts together."""
    grams = lambda words, n: Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))  # noqa: E731
    shares = []
    for n in range(1, most + 1):
        right = sum(
            min(count, max(grams(each, n)[gram] for each in true))
            for said, true in pairs
            for gram, count in grams(said, n).items()
        )
        shares.append(right / sum(max(len(said) - n + 1, 0) for said, _ in pairs))
    spoken = sum(len(said) for said, _ in pairs)
    wanted = sum(min((abs(len(t) - len(said)), len(t)) for t in true)[1] for said, true in pairs)
    return math.prod(shares) ** (1 / most) * min(1.0, math.exp(1 - wanted / spoken))


@pytest.mark.parametrize("task", ["caption", "coco_caption"])
def test_captions(scored, tmp_path, task):
    images = coco_images(tmp_path, 2, SHAPE)
    if task == "coco_caption":
        rows = [(image["id"], text) for image, texts in zip(images, TRUE, strict=True) for text in texts]
        annotations = [{"image_id": number, "id": k, "caption": text} for k, (number, text) in enumerate(rows)]
        write(tmp_path / "annotations/captions_val2017.json", images=images, annotations=annotations)
    else:
        (tmp_path / "val2017").rename(tmp_path / "rgb")
        (tmp_path / "caption").mkdir()
        for image, texts in zip(images, TRUE, strict=True):
            (tmp_path / f"caption/{image['id']:012d}.txt").write_text(texts[0])
    true = TRUE if task == "coco_caption" else [texts[:1] for texts in TRUE]
    words = [[text.lower().replace(".", " .").split() for text in texts] for texts in true]
    pairs = list(zip((text.split() for text in SAID), words, strict=True))
    found = scored(task, tmp_path, lambda target, number, given: SAID[number])["scores"]["model"]
    assert [found[f"bleu{n}"] for n in (1, 2)] == pytest.approx([bleu(pairs, n) for n in (1, 2)])
    common = [max(2 * sum((Counter(s) & Counter(t)).values()) / (len(s) + len(t)) for t in ts) for s, ts in pairs]
    assert found["word_f1"] == pytest.approx(np.mean(common))


# People.


def pose_errors(made: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """MPJPE and PA-MPJPE in millimeters of joints (24, 3) in meters."""
    plain = np.linalg.norm((made - made[0]) - (true - true[0]), axis=1).mean()
    a, b = made - made.mean(0), true - true.mean(0)
    turn, _ = Rotation.align_vectors(b, a)
    turned = turn.apply(a)
    scale = (turned * b).sum() / (turned**2).sum()
    return 1000 * plain, 1000 * np.linalg.norm(scale * turned - b, axis=1).mean()


@pytest.mark.parametrize("task", ["pose", "3dpw_pose"])
def test_people(scored, embedded, tmp_path, rng, task):
    modality, root = embedded.modalities["human_poses"], make_3dpw(tmp_path)
    raw = read_array_pickle(root / "sequenceFiles/test/street_00.pkl")
    true = {}
    for number, (frame, people) in enumerate(((0, (0, 1)), (2, (0,)))):  # where the camera is valid
        turn, shift = raw["cam_poses"][frame][:3, :3], raw["cam_poses"][frame][:3, 3]
        true[number] = [raw["jointPositions"][p][frame].reshape(24, 3) @ turn.T + shift for p in people]
    (someone,) = modality.examples(rng)["one"]
    boxes = {0: [], 1: []}
    if task == "pose":
        (tmp_path / "rgb").mkdir()
        for number, name in enumerate(("image_00000", "image_00002")):
            (root / f"imageFiles/street_00/{name}.jpg").rename(tmp_path / f"rgb/{number}.jpg")
            people = [attrs.evolve(each, joints=None) for each in modality.examples(rng)["two"][: 2 - number]]
            (tmp_path / "human_poses").mkdir(exist_ok=True)
            modality.write(people, tmp_path / f"human_poses/{number}.json")
            read = embedded.accept(
                {"rgb": tmp_path / f"rgb/{number}.jpg", "human_poses": tmp_path / f"human_poses/{number}.json"}
            )["human_poses"]
            true[number], boxes[number] = [HumanPoses().joints(each) for each in people], [each.box for each in read]
    else:
        for number in (0, 1):
            sample = ThreeDpw(root).read(number)
            read = embedded.accept({**sample.inputs, "human_poses": sample.truth})["human_poses"]
            boxes[number] = [each.box for each in read]

    def predict(target: str, number: int, given: Any) -> list[Any]:
        return [] if number else [attrs.evolve(someone, box=box) for box in boxes[number]]

    found = scored(task, root, predict)["scores"]["model"]
    errors = [pose_errors(modality.joints(someone), each) for each in true[0]]
    assert found["found"] == pytest.approx(2 / 3)  # nobody is found in the second picture
    assert (found["mpjpe"], found["pa_mpjpe"]) == pytest.approx(tuple(np.mean(errors, 0)), rel=1e-4)


# Vectors: of a picture by its color, of a text by its letters.


def vector(given: Any, width: int = 64) -> np.ndarray:
    """A vector that depends on a value, and lies near that of a picture whose color the text names."""
    value = given["caption"].split()[-1] if "caption" in given else str(round((float(np.mean(given["rgb"])) - 20) / 40))
    return np.random.default_rng(sum(map(ord, value))).standard_normal(width) + (0.9 if "caption" in given else 0)


def test_imagenet(scored, tmp_path):
    root = make_imagenet(tmp_path, "kit")
    colors = {path: 10 + 37 * k % 200 for k, path in enumerate(sorted(root.rglob("*.JPEG")))}
    for path, color in colors.items():
        save(np.full((40, 40, 3), color, np.uint8), path)
    found = scored("imagenet_knn", root, lambda target, number, given: vector(given).astype(np.float32))
    truths = {"1": "n02123045", "2": "n01440764", "3": "n02123045"}  # by the kit, whose numbers are not alphabetical
    known = [path for path in colors if "train" in path.parts]
    asked = [path for path in colors if "val" in path.parts]
    rows = lambda paths: np.stack([vector({"rgb": colors[path]}) for path in paths]).astype(np.float16)  # noqa: E731
    voters = KNeighborsClassifier(
        len(known), metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07)
    ).fit(rows(known), [path.parent.name for path in known])
    right = voters.predict(rows(asked)) == [truths[path.stem[-1]] for path in asked]
    assert found["samples"] == 3 and found["scores"]["model"] == {"top1": pytest.approx(right.mean()), "top5": 1.0}


@pytest.mark.parametrize("task", ["retrieval", "coco_retrieval"])
def test_searches(scored, tmp_path, task):
    count = 6
    images = coco_images(tmp_path, count, SHAPE)
    captions = [(k, f"the color {k + (k % 3 == 0)}") for k in range(count)]  # some name that of another picture
    if task == "coco_retrieval":
        captions += [(1, "the color 1"), (4, "the color 0")]  # several of one picture
        rows = [{"image_id": images[k]["id"], "id": 7 + n, "caption": text} for n, (k, text) in enumerate(captions)]
        write(tmp_path / "annotations/captions_val2017.json", images=images, annotations=rows)
    else:
        (tmp_path / "val2017").rename(tmp_path / "rgb")
        (tmp_path / "caption").mkdir()
        for k, text in captions:
            (tmp_path / f"caption/{images[k]['id']:012d}.txt").write_text(text)
    known = np.stack([vector({"rgb": 20 + 40 * k}) for k in range(count)]).astype(np.float16)
    asked = np.stack([vector({"caption": text}) for _, text in captions])
    _, order = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(known).kneighbors(asked)
    if task == "coco_retrieval":  # captions are asked in the order of the pictures
        captions, order = zip(*sorted(zip(captions, order.tolist(), strict=True), key=lambda x: x[0][0]), strict=True)
    places = np.array([list(row).index(k) for (k, _), row in zip(captions, order, strict=True)])
    found = scored(task, tmp_path, lambda target, number, given: vector(given).astype(np.float32))["scores"]["model"]
    assert found == pytest.approx({f"recall{n}": np.mean(places < n) for n in (1, 5, 10)})
    assert 0 < found["recall1"] < 1


def test_a_search_looks_through_pictures_that_no_text_is_of(scored, tmp_path):
    """Only every other one has a caption, so that there are more of them than questions."""
    images = coco_images(tmp_path, 6, SHAPE)
    (tmp_path / "val2017").rename(tmp_path / "rgb")
    (tmp_path / "caption").mkdir()
    for k in (1, 3, 5):
        (tmp_path / f"caption/{images[k]['id']:012d}.txt").write_text(f"the color {k}")
    found = scored("retrieval", tmp_path, lambda target, number, given: vector(given).astype(np.float32))
    assert found["samples"] == 3 and found["scores"]["model"] == {"recall1": 1, "recall5": 1, "recall10": 1}


def test_what_is_found_is_told_apart_by_its_place(tmp_path, embedded):
    files = samples(6)
    del files["depth"], files["caption"]["0002.txt"], files["caption"]["0004.txt"]
    known = embedded.modalities
    for layout in (as_folder, as_tars):
        root = layout(tmp_path / layout.__name__, files)
        asked = NamedSamples(root, ("caption",), ("rgb",), known)
        whole, few = (FoundSamples(root, ("rgb",), ("caption",), known, count) for count in (4, 3))
        assert [asked.name(k) for k in range(len(asked))] == ["0000", "0001", "0003", "0005"]
        names = [whole.name(k) for k in range(len(whole))]
        assert len(names) == 6 and whole.read(names.index("0003")).truth == asked.read(2).truth
        assert set(asked.read(0).inputs) == {"caption"} and set(whole.read(0).inputs) == {"rgb"}
        first = {few.name(k) for k in range(len(few))}
        assert {"0000", "0001", "0003"} <= first and "0005" not in first
    for folder in ("rgb", "caption"):
        (tmp_path / "twice" / folder).mkdir(parents=True)
        for shard in "ab":
            shutil.copy(tmp_path / f"as_tars/{folder}/shard-00000.tar", tmp_path / f"twice/{folder}/{shard}.tar")
    twice = NamedSamples(tmp_path / "twice", ("caption",), ("rgb",), known)
    assert twice.name(0) == twice.name(3) and twice.read(0).truth != twice.read(3).truth


# Pictures.


@pytest.mark.parametrize("task", ["generation", "coco_generation"])
def test_pictures(scored, tmp_path, rng, task):
    images = coco_images(tmp_path, 4, SHAPE)
    for image in images:
        save(rng.integers(0, 256, (*SHAPE, 3), np.uint8), tmp_path / f"val2017/{image['file_name']}")
    saved = sorted((tmp_path / "val2017").iterdir())
    if task == "coco_generation":
        rows = [{"image_id": each["id"], "id": k, "caption": f"picture {k}"} for k, each in enumerate(images)]
        rows += [{"image_id": images[0]["id"], "id": 99, "caption": "another"}]  # the first one of each counts
        write(tmp_path / "annotations/captions_val2017.json", images=images, annotations=rows)
    else:
        (tmp_path / "rgb").mkdir()
        (tmp_path / "caption").mkdir()
        for k, path in enumerate(saved):
            save(np.asarray(Image.open(path)), tmp_path / f"rgb/{k}.png")
            (tmp_path / f"caption/{k}.txt").write_text(f"picture {k}")
    made = rng.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    seen = {"asked": rng.standard_normal((4, 4, 64)), "made": rng.standard_normal((4, 4, 64))}

    def predict(target: str, number: int, given: Any) -> np.ndarray:
        if target == "rgb":
            assert given["caption"] == f"picture {number}"
            return made[number]
        kind = "asked" if "caption" in given else "made"
        which = int(given["caption"].split()[-1]) if kind == "asked" else number_of(given["rgb"])
        return np.tile(seen[kind][which], (4, 1, 1)).reshape(4, 4, 64)

    def number_of(picture: np.ndarray) -> int:
        return next(k for k in range(4) if np.array_equal(made[k], picture))

    def features(pictures: Any) -> np.ndarray:
        return np.stack([np.concatenate([p.reshape(-1, 3).mean(0), p.reshape(-1, 3).std(0)]) for p in pictures])

    @EXTRACTORS.add
    @attrs.frozen
    class Colors(FeatureExtractor):
        name: str = attrs.field(init=False, default="colors")

        def build(self) -> Any:
            return features

    try:
        found = scored(task, tmp_path, predict, "--option", "extractor=colors")["scores"]["model"]
    finally:
        EXTRACTORS.remove("colors")
    true = [np.asarray(Image.open(path))[:, LEFT : LEFT + SIDE] for path in saved]
    a, b = features(list(made)), features(true)
    gap, (one, other) = a.mean(0) - b.mean(0), (np.cov(x, rowvar=False) for x in (a, b))
    fid = gap @ gap + np.trace(one + other) - 2 * np.trace(sqrtm(one @ other)).real
    pooled = {kind: each.reshape(4, -1, 64).mean(1) for kind, each in seen.items()}
    pooled = {kind: each / np.linalg.norm(each, axis=1, keepdims=True) for kind, each in pooled.items()}
    assert found["fid"] == pytest.approx(float(fid), rel=1e-3)
    assert found["agreement"] == pytest.approx((pooled["asked"] * pooled["made"]).sum(1).mean(), rel=1e-5)
