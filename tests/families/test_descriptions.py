"""Saved files say what their values mean, and are read by that; files that say nothing keep the reader's meaning."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import anymodal as am
from anymodal.families.descriptions import KEYWORD, LARGEST, stating
from anymodal.outputs.equality import same
from anymodal.testing.values import examples


@pytest.fixture(scope="module")
def tiny():
    return {each.name: each for each in am.load("tiny").modalities}


def modality(name: str, **changed):
    return am.registry().modality(name)(**changed)


@pytest.mark.parametrize("name", am.modalities())
def test_what_a_model_saves_is_read_by_a_class_without_settings(name, tiny, tmp_path):
    of_model, plain = tiny[name], modality(name)
    for number, example in enumerate(examples(of_model)):
        for suffix in dict.fromkeys([of_model.suffixes[0], *({".npy"} & set(of_model.suffixes))]):
            path = tmp_path / f"{number}{suffix}"
            of_model.write(example.value, path)
            value, right = plain.read(path), of_model.accept(example.value)
            low, high = (of_model.file_range or (0, 0)) if suffix == ".png" else (0, 0)
            step = (high - low) / (65535 if getattr(of_model, "channels", 3) == 1 else 255)
            assert same(value, right, 0.51 * step + 1e-6), (example, suffix)


def depth_file(path):
    metric = modality("depth", low=0.4, high=80.0, scaling="log")
    metric.write(np.full((4, 5), 3.03, np.float32), path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_depth_of_three_meters_is_three_meters_for_everyone(suffix, tmp_path):
    path = depth_file(tmp_path / f"depth{suffix}")
    for one in (modality("depth"), modality("depth", high=10.0), modality("depth", low=1.0, high=80.0)):
        assert np.allclose(one.read(path), 3.03, atol=1e-3)
        assert np.allclose(one.accept(str(path)), 3.03, atol=1e-3)
    if suffix == ".png":
        with Image.open(path) as picture:
            assert np.allclose(modality("depth").accept(picture), 3.03, atol=1e-3)
            stated = json.loads(picture.text[KEYWORD])
        assert (stated["modality"], stated["unit"], stated["range"]) == ("depth", "m", [0.0, 80.0])
        assert stated["settings"]["scaling"] == "log" and "scheme" not in stated


def test_numpy_reads_a_described_array_as_it_always_did(tmp_path):
    path = depth_file(tmp_path / "depth.npy")
    assert np.array_equal(np.load(path), np.load(path, mmap_mode="r"))
    assert np.load(path).shape == (4, 5) and np.load(path)[0, 0] == np.float32(3.03)


def test_the_scheme_is_stated_where_it_made_the_value(tmp_path):
    with stating(scheme="mean"):
        path = depth_file(tmp_path / "depth.png")
    with Image.open(path) as picture:
        assert json.loads(picture.text[KEYWORD])["scheme"] == "mean"


def test_files_that_say_nothing_and_those_of_others_keep_the_readers_meaning(tmp_path):
    half = Image.fromarray(np.full((4, 5), 65535 // 2, np.uint16))
    half.save(tmp_path / "foreign.png")
    chunks = PngInfo()
    chunks.add_text(KEYWORD, json.dumps({"modality": "heat", "range": [0, 500]}))
    half.save(tmp_path / "heat.png", pnginfo=chunks)
    np.save(tmp_path / "foreign.npy", np.full((4, 5), 0.5, np.float32))
    for name in ("foreign.png", "heat.png", "foreign.npy"):
        assert np.allclose(modality("depth").read(tmp_path / name), 0.5, atol=1e-4)
    with (tmp_path / "two.npy").open("wb") as file:
        np.save(file, np.full((4, 5), 0.5, np.float32))
        np.save(file, np.arange(9))
    assert np.allclose(modality("depth").read(tmp_path / "two.npy"), 0.5)


def test_a_model_refuses_features_of_another_width_that_a_class_alone_reads(tiny, tmp_path):
    tiny["clip"].write(np.ones((2, 2, 64), np.float32), tmp_path / "clip.npy")
    assert modality("clip").read(tmp_path / "clip.npy").shape == (2, 2, 64)
    with pytest.raises(am.ValueProblem, match=r"clip.npy.*\(rows, columns, 512\)"):
        modality("clip").accept(tmp_path / "clip.npy")
    np.save(tmp_path / "foreign.npy", np.ones((2, 2, 64), np.float32))
    with pytest.raises(am.ValueProblem, match=r"\(rows, columns, 512\)"):
        modality("clip").read(tmp_path / "foreign.npy")


def test_classes_are_found_by_name(tmp_path):
    class Zones(am.LabelMapModality):
        """As it was written."""

        classes = ("sea", "sand", "rock")

    class Renamed(Zones):
        """As it is read."""

        name = "zones"
        classes = ("grass", "rock", "sea")

    ids = np.array([[0, 2], [255, 0]], np.uint8)
    for suffix in (".png", ".npy"):
        Zones().write(ids, tmp_path / f"a{suffix}")
        assert np.array_equal(Renamed().read(tmp_path / f"a{suffix}"), [[2, 1], [255, 2]])
        Zones().write(np.ones((2, 2), np.uint8), tmp_path / f"b{suffix}")
        with pytest.raises(am.ValueProblem, match=r"zones has no class 'sand' for the id '1' of the file"):
            Renamed().read(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_classes_are_found_by_name_beyond_the_own_ones(suffix, tmp_path):
    of_three, of_two = am.label_map("ground", classes=("sea", "sand", "rock")), am.label_map("ground", classes=["rock"])
    of_three().write(np.full((2, 2), 2, np.uint8), tmp_path / f"a{suffix}")
    assert (of_two().read(tmp_path / f"a{suffix}") == 0).all()


HOSTILE = [
    "", "[]", "{", "null", '{"modality": "depth", "range": [1, 0]}', '{"modality": "depth", "range": [0, NaN]}',
    '{"modality": "depth", "range": [0]}', '{"modality": "depth", "range": "wide"}', '{"modality": 5}',
    '{"modality": "depth", "format": 2}', '{"modality": "depth", "format": "x"}', '{"modality": "depth", "more": 1}',
    '{"modality": "depth", "settings": []}', "[" * 5000, '{"modality": "depth", "range": [0, ' + "9" * 5000 + "]}",
    '{"modality": "depth", "unit": "' + "m" * LARGEST + '"}', '{"modality": "depth", "range": [0, 1e400]}',
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_hostile_descriptions_are_refused_with_one_sentence(text, suffix, tmp_path):
    path, array = tmp_path / f"a{suffix}", np.zeros((4, 5), np.uint16)
    if suffix == ".png":
        chunks = PngInfo()
        chunks.add_text(KEYWORD, text)
        Image.fromarray(array).save(path, pnginfo=chunks)
    else:
        with path.open("wb") as file:
            np.save(file, array.astype(np.float32))
            np.save(file, np.frombuffer(f"{KEYWORD} {text}".encode(), np.uint8))
    with pytest.raises(am.ValueProblem) as raised:
        modality("depth").read(path)
    assert str(path) in str(raised.value) and len(str(raised.value)) < 1300 and "\n" not in str(raised.value)


def test_a_description_longer_than_text_may_be_is_not_passed_over(tmp_path):
    chunks = PngInfo()
    chunks.add_text(KEYWORD, '{"modality": "depth", "range": [0, 80], "unit": "' + "m" * 2**20 + '"}')
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.raises(am.ValueProblem, match="description"):
        modality("depth").read(tmp_path / "a.png")


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
                 lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    st.sampled_from(["range", "settings", "classes", "unit", "scheme", "format"]),
    st.sampled_from(["depth", "semseg", "clip"]),
)  # fmt: skip
def test_any_description_is_taken_or_refused(value, field, name):
    from anymodal.families.descriptions import as_described, parse_description

    try:
        as_described(modality(name), parse_description(json.dumps({"modality": name, field: value})))
    except am.ValueProblem as error:
        assert "\n" not in str(error)


SOUND = am.signal("sound", shape=(8,), cell=(8,))
ROWS = am.embedding("rows", width=4)
HEAT = am.image("heat", channels=1)
GROUND = am.label_map("ground", classes=("sea", "sand"))
WRITTEN = [
    (SOUND, np.zeros(8, np.float32)),
    (ROWS, np.ones((2, 4), np.float32)),
    (HEAT, np.ones((2, 2), np.float32) / 2),
]


@pytest.mark.parametrize(
    ("cls", "value"), [*WRITTEN, (am.plain_text("note"), "a cup"), (GROUND, np.ones((2, 2), np.uint8))]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".wav", ".png", ".tif", ".jpg", ".webp", ".bmp", ".txt", ".json"])
def test_what_is_written_is_read_again_whatever_the_ending(cls, value, suffix, tmp_path):
    """Or it is refused in one sentence, and no file is left."""
    modality, path = cls(), tmp_path / f"value{suffix}"
    if suffix not in modality.suffixes:
        return
    try:
        modality.write(value, path)
    except am.ValueProblem as error:
        assert str(path) in str(error) and not path.exists()
    else:
        back = modality.read(path)
        assert back == value if modality.is_text else np.allclose(back, value, atol=1e-4)


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".tga", ".pdf", ".ico", ""])
@pytest.mark.parametrize("name", ["depth", "rgb", "canny_edge"])
def test_pictures_are_not_written_under_endings_that_are_not_theirs(name, suffix, tmp_path):
    """Some are unreadable, and others cut depth to 8 bits: all of it was far."""
    one = modality(name)
    value = np.full((4, 4, 3), 7, np.uint8) if name == "rgb" else np.full((4, 4), 0.5, np.float32)
    with pytest.raises(am.ValueProblem, match=rf"value{suffix}: {name} is written to files that end in .png, .npy, "):
        one.write(one.accept(value), tmp_path / f"value{suffix}")
    assert not any(tmp_path.iterdir())


def test_maps_are_not_written_where_nothing_reads_them(tmp_path):
    with pytest.raises(am.ValueProblem, match=r"a.jpg: ground is written to files that end in .png or .npy"):
        GROUND().write(np.ones((2, 2), np.uint8), tmp_path / "a.jpg")
