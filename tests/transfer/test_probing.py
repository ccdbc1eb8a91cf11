"""Probes: a head on frozen features learns what there is to learn, no more, and says what it cannot."""

import json
import subprocess
import sys

import attrs
import numpy as np
import pytest
from anymodal_scenes import render, write
from known_model import SIDE
from PIL import Image

import anymodal as am
from anymodal.nn.device import one_thread
from anymodal.transfer import HEADS, Head, Split
from anymodal.transfer.class_folders import read_class_folders
from anymodal.transfer.dense import cells_of
from anymodal.transfer.frozen import frozen_features
from anymodal.transfer.probe_data import grid_data, token_data


@pytest.fixture(scope="module")
def tiny() -> am.AnyModel:
    return am.load("tiny", modalities=["rgb", "depth", "semseg"])


def colored(label: str, number: int) -> np.ndarray:
    """A noisy picture, red or blue."""
    noise = np.random.default_rng([number, label == "red"]).integers(0, 90, (64, 64, 3))
    noise[..., 0 if label == "red" else 2] += 120
    return noise.astype(np.uint8)


LABELS = ["red", "blue"] * 12
PICTURES = [{"rgb": colored(label, number)} for number, label in enumerate(LABELS)]


QUICK = {"attentive": {"steps": 24, "lr": 0.003}, "linear": {"strengths": [0.1, 1.0]}}


@pytest.mark.parametrize("head", list(HEADS))
def test_every_head_tells_colors_apart_and_no_labels_that_say_nothing(tiny, head):
    chosen = HEADS({"name": head, **QUICK.get(head, {})})
    with one_thread():
        found = am.probe(tiny, PICTURES, LABELS, head=chosen, seeds=1)
        assert found.mean("accuracy") == 1.0 and found.learned == 18 and found.held_out == 6
        shuffled = np.random.default_rng(0).permutation(LABELS).tolist()
        assert am.probe(tiny, PICTURES, shuffled, head=chosen, seeds=2).mean("accuracy") < 0.9


def test_splits_of_the_data_are_kept_and_the_constant_is_said(tiny):
    rows = np.arange(24)
    found = am.probe(tiny, PICTURES, LABELS, splits=[Split(rows[:16], rows[16:])])
    assert found.held_out == 8 and found.interval("accuracy") is None
    assert [each["accuracy"] for each in found.constant] == [0.5]


class TestGrids:
    @pytest.mark.parametrize(("to", "score", "sign"), [("semseg", "accuracy", 1), ("depth", "abs_rel", -1)])
    def test_cells_tell_their_pixels_better_than_a_constant(self, tiny, to, score, sign):
        scenes = [render(index, 64, SIDE) for index in range(24)]
        with one_thread():
            found = am.probe(tiny, [{"rgb": s.rgb, to: getattr(s, to)} for s in scenes], to=to, head="knn", seeds=1)
        assert sign * found.mean(score) > sign * found.constant[0][score]

    def test_cells_and_tensors_are_each_other(self):
        tensors = list(np.random.default_rng(0).normal(size=(3, 2, 12, 8)).astype(np.float32))
        cells = cells_of(tensors, (3, 4), "x")
        assert cells.rows.shape == (3, 3, 4, 2 * 4 * 2)
        assert all(np.array_equal(a, b) for a, b in zip(cells.tensors(cells.rows), tensors, strict=True))

    def test_a_cell_is_its_most_frequent_class(self):
        labels = np.array([[1, 1, 0, 2], [1, 0, 2, 2]])
        cells = cells_of([labels], (1, 2), "x")
        assert cells.rows[0, 0, :, 0].tolist() == [1, 2] and cells.classes == 3
        assert cells.tensors(cells.rows)[0].argmax(0).tolist() == [[1, 1, 2, 2]] * 2


class TestFrozen:
    def test_features_are_kept_and_a_changed_input_or_model_has_others(self, tiny, tmp_path):
        values = [tiny.accept(sample) for sample in PICTURES[:3]]
        first = frozen_features(tiny, values, cache=tmp_path)
        (file,) = tmp_path.iterdir()
        stamp = file.stat().st_mtime_ns
        assert np.array_equal(frozen_features(tiny, values, cache=tmp_path), first)
        assert file.stat().st_mtime_ns == stamp
        values[0] = {"rgb": values[1]["rgb"]}
        again = frozen_features(tiny, values, cache=tmp_path)
        assert np.array_equal(again[0], first[1]) and len(list(tmp_path.iterdir())) == 2

    def test_a_damaged_file_is_told(self, tiny, tmp_path):
        values = [tiny.accept(sample) for sample in PICTURES[:2]]
        frozen_features(tiny, values, cache=tmp_path)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(am.AnymodalError, match=file.name):
            frozen_features(tiny, values, cache=tmp_path)


class TestFolders:
    def folders(self, root, names):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(colored(path.parent.name, hash(name) % 100)).save(path)
        return root

    def test_classes_are_folders_and_what_is_no_file_of_them_is_named(self, tmp_path):
        self.folders(tmp_path, ["red/a.png", "red/b.PNG", "blue/c.png"])
        (tmp_path / "red" / "notes.txt").write_text("x")
        found = read_class_folders(tmp_path, (".png",))
        assert found.labels == ("blue", "red", "red") and found.learned is None
        assert [path.rsplit("/", 1)[1] for path in found.passed_over] == ["notes.txt"]

    def test_a_split_of_the_data(self, tmp_path):
        self.folders(tmp_path, ["train/red/a.png", "train/blue/b.png", "val/red/c.png"])
        assert read_class_folders(tmp_path, (".png",)).learned == (True, True, False)

    @pytest.mark.parametrize(
        ("names", "sentence"),
        [
            (["red/a.png"], "each of 2 classes"),
            (["train/red/a.png", "train/blue/b.png", "val/green/c.png"], "'green' that"),
        ],
        ids=str,
    )
    def test_what_is_no_such_folder_is_told(self, tmp_path, names, sentence):
        with pytest.raises(am.DataError, match=sentence):
            read_class_folders(self.folders(tmp_path, names), (".png",))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": LABELS, "to": "depth"}, "give one of labels and to"),
        ({"labels": LABELS[:3]}, "3 labels for 24 samples"),
        ({"labels": ["red"] * 24}, "all samples that it learns from are 'red'"),
        ({"to": "depth"}, "no 'depth' to learn from"),
        ({"labels": LABELS, "head": "linaer"}, "linear"),
        ({"labels": LABELS, "held_out": 1.5}, "held_out is between 0 and 1"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said(tiny, options, sentence):
    with pytest.raises(am.ConfigError, match=sentence):
        am.probe(tiny, PICTURES, **options)


def test_others_add_heads(tiny):
    @HEADS.add
    @attrs.frozen
    class First(Head):
        name: str = attrs.field(init=False, default="first")

        def classes(self, features, labels, groups, seed):
            return lambda more: np.full(len(more), labels[0])

    try:
        assert am.probe(tiny, PICTURES, LABELS, head="first", seeds=1).head == "first"
    finally:
        HEADS.remove("first")


def test_the_command(tmp_path):
    for number, label in enumerate(LABELS):
        path = tmp_path / "data" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colored(label, number)).save(path)
    (tmp_path / "data" / "red" / "broken.png").write_bytes(b"\x89PNG")
    words = ["probe", str(tmp_path / "data"), "--head", "knn", "--seeds", "2", "--json"]
    ran = subprocess.run([sys.executable, "-m", "anymodal", *words], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert [each["accuracy"] for each in said["scores"]] == [1.0, 1.0] and said["problems"] == 1
    assert "broken.png" in ran.stderr


def test_a_tokenized_dataset_gives_the_features_of_its_values(tiny, tmp_path):
    write(tmp_path / "scenes", 6, seed=3, workers=1)
    am.tokenize_dataset(tmp_path / "scenes", lambda: tiny.modalities, tmp_path / "tokens")
    values = grid_data(tiny, str(tmp_path / "scenes"), ["rgb", "depth"], "semseg")
    tokens = token_data(tiny, str(tmp_path / "tokens"), ["rgb", "depth"], "semseg")
    one, other = (
        frozen_features(tiny, [{name: s[name] for name in ("rgb", "depth")} for s in found.samples], map_of="rgb")
        for found in (values, tokens)
    )
    np.testing.assert_allclose(one, other, atol=0.05)  # pixels are stored in eight bits
    assert am.probe(tiny, tokens.samples, to="semseg", head="knn", seeds=1).mean("accuracy") > 0
    two = am.load("tiny", modalities=["rgb", "semseg"]).modalities
    am.tokenize_dataset(tmp_path / "scenes", lambda: two, tmp_path / "two", count=2)
    with pytest.raises(am.ConfigError, match="no tokens of 'depth'"):
        token_data(tiny, str(tmp_path / "two"), ["depth"], "semseg")


@pytest.mark.parametrize("numbers", [False, True])
def test_neighbors_are_the_nearest_by_cosine(numbers):
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    features = (rng.normal(size=(4, 24))[labels] + rng.normal(size=(400, 24))).astype(np.float32)
    learned, tried = features[:300], features[300:]
    head = HEADS["knn"](counts=(5,))
    known = features @ rng.normal(size=24) if numbers else labels
    predict = (head.numbers if numbers else head.classes)(learned, known[:300], np.arange(300), 0)

    scaler = StandardScaler().fit(learned)
    model = KNeighborsRegressor if numbers else KNeighborsClassifier
    other = model(5, metric="cosine", weights="distance").fit(scaler.transform(learned), known[:300])
    np.testing.assert_allclose(predict(tried), other.predict(scaler.transform(tried)), rtol=1e-4)
