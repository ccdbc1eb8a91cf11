"""Natural values: round trips through tensors and files, crops and flips, and hostile files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal import families
from anymodal.crops import Crop
from anymodal.errors import ConfigError, PluginError, ValueProblem
from anymodal.families import KINDS
from anymodal.plugins.registry import registry

RGB, Depth, Normal, Semseg, Canny, Palette, Caption = (
    registry().modality(n) for n in ("rgb", "depth", "normal", "semseg", "canny_edge", "color_palette", "caption")
)
SIZE = {"size": 32, "patch": 8}


def pictures(name: str):
    """A kind and a seed: small to print, and they shrink to a named kind."""
    modality = registry().modality(name)(
        **SIZE, **({"scaling": "log", "low": 0.4, "high": 80.0} if name == "depth" else {})
    )

    def make(kind: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if name == "semseg":
            return (
                rng.integers(0, 133, (32, 32), dtype=np.uint8)
                if kind != "constant"
                else np.full((32, 32), 255, np.uint8)
            )
        shape = (32, 32) if modality.channels == 1 else (32, 32, modality.channels)
        unit = {
            "constant": np.full(shape, 0.25),
            "extreme": rng.integers(0, 2, shape) * 1.0,
            "noise": rng.random(shape),
        }[kind]
        value = modality.low + unit * (modality.high - modality.low)
        if name == "normal":
            value = value / np.maximum(np.linalg.norm(value, axis=-1, keepdims=True), 1e-6)
        return value.round().astype(np.uint8) if modality.dtype == "uint8" else value.astype(np.float32)

    return st.tuples(
        st.just(modality), st.builds(make, st.sampled_from(["constant", "extreme", "noise"]), st.integers(0, 2**32))
    )


anything = st.sampled_from(["rgb", "depth", "normal", "canny_edge"]).flatmap(pictures)


@given(anything)
def test_tensors_lie_in_the_unit_range_and_come_back(pair):
    modality, value = pair
    tensor = modality.preprocess(value)
    assert (
        tensor.dtype == np.float32 and tensor.shape == (modality.channels, 32, 32) and np.abs(tensor).max() <= 1 + 1e-6
    )
    assert np.allclose(modality.postprocess(tensor), value, rtol=1e-4, atol=(modality.high - modality.low) * 1e-5)


@settings(max_examples=30)
@given(anything, st.sampled_from([".png", ".npy"]))
def test_files_come_back(tmp_path_factory, pair, suffix):
    modality, value = pair
    path = tmp_path_factory.mktemp("files") / f"value{suffix}"
    modality.write(value, path)
    step = 0 if suffix == ".npy" or modality.dtype == "uint8" else 1 / 65535 if modality.channels == 1 else 1 / 255
    assert np.allclose(modality.read(path), value, atol=step * (modality.high - modality.low) + 1e-6)


@given(st.sampled_from(["rgb", "depth", "normal", "canny_edge", "semseg"]).flatmap(pictures))
def test_flipping_twice_is_nothing_and_the_whole_crop_is_the_value(pair):
    modality, value = pair
    flip = Crop(flip=True)
    assert np.array_equal(modality.crop(modality.crop(value, flip), flip), value)
    assert np.array_equal(modality.crop(value, Crop()), value)


def test_a_mirrored_normal_points_the_other_way():
    value = np.zeros((32, 32, 3), np.float32)
    value[..., 0] = 1
    assert (Normal(**SIZE).crop(value, Crop(flip=True))[..., 0] == -1).all()


def test_aligned_modalities_share_a_crop_and_classes_stay_classes():
    rows, columns = np.mgrid[:64, :96]
    picture = np.stack([rows, columns, rows], -1).astype(np.uint8)
    labels = (columns >= 48).astype(np.uint8) * 100
    crop = Crop.center(96, 64)
    cut, classes = RGB(**SIZE).crop(picture, crop), Semseg(**SIZE).crop(labels, crop)
    assert cut.shape == (32, 32, 3) and set(np.unique(classes)) == {0, 100}
    assert abs(int(cut[0, 0, 1]) - 16) <= 2 and abs(int(cut[0, -1, 1]) - 79) <= 2
    assert np.argmax(classes[0] == 100) == np.argmax(cut[0, :, 1] > 47.5)


def test_semseg_maps_ids_to_the_labels_of_a_checkpoint():
    modality = Semseg(**SIZE, labels=(3, 7, 119))
    value = np.array([[3, 7], [119, 50]], np.uint8)
    indices = modality.preprocess(value)
    assert indices.tolist() == [[1, 2], [3, 0]]
    assert modality.postprocess(np.eye(4)[indices].transpose(2, 0, 1)).tolist() == [[3, 7], [119, 255]]


def test_values_that_are_not_finite_survive():
    value = np.full((32, 32), np.nan, np.float32)
    for scaling in ("log", "standardize"):
        assert np.isfinite(Depth(**SIZE, scaling=scaling, low=0.4, high=80.0).preprocess(value)).all()


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=7))
def test_palettes_spell_and_parse(colors):
    value = np.array(colors, np.uint8)
    palette = Palette()
    assert palette.spell(value).startswith(f"v1={len(colors)} v0={colors[0][0]} ")
    assert np.array_equal(palette.parse(palette.spell(value)), value)


@given(st.text(max_size=60))
def test_parsing_never_fails(text):
    value = Palette().parse(text)
    assert value.dtype == np.uint8 and value.shape[1] == 3
    assert isinstance(Caption().parse(text), str)


def test_palettes_are_found_in_pictures():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :20], picture[:, 20:32], picture[:, 32:] = (200, 20, 20), (20, 20, 200), (240, 240, 240)
    palette = Palette(colors=3).derive({"rgb": picture})
    assert palette.tolist() == [[200, 20, 20], [20, 20, 200], [240, 240, 240]]


@pytest.mark.parametrize("name", ["rgb", "depth", "normal", "semseg", "canny_edge", "color_palette", "caption"])
def test_everything_can_be_shown_and_scores_itself_perfectly(name):
    modality = registry().modality(name)()
    rng = np.random.default_rng(0)
    values = {
        "caption": "a red <b>car</b> on a road",
        "color_palette": rng.integers(0, 256, (5, 3), dtype=np.uint8),
        "semseg": rng.integers(0, 133, (20, 20), dtype=np.uint8),
        "rgb": rng.integers(0, 256, (20, 20, 3), dtype=np.uint8),
        "canny_edge": rng.integers(0, 2, (20, 20), dtype=np.uint8) * 255,
        "depth": rng.random((20, 20)).astype(np.float32) + 0.1,
        "normal": np.broadcast_to(np.float32([0, 0, 1]), (20, 20, 3)),
    }
    value = values[name]
    shown = modality.show(value, 128)
    assert isinstance(shown, Image.Image) and shown.mode == "RGB" and max(shown.size) == 128
    best = {"abs_rel": 0, "mean_angle": 0, "miou": 1, "edge_f1": 1, "delta_e": 0, "word_f1": 1, "mae": 0}
    scores = modality.score([value], [value])
    assert any(scores[key] == pytest.approx(ideal, abs=1e-6) for key, ideal in best.items() if key in scores)


@pytest.mark.parametrize(("name", "shape"), [("depth", (16, 16)), ("normal", (16, 16, 3)), ("semseg", (16, 16))])
def test_a_picture_of_nothing_says_so(name, shape):
    nothing = np.full(shape, 255 if name == "semseg" else 0, np.uint8 if name == "semseg" else np.float32)
    colors = registry().modality(name)().show(nothing, 128).getcolors(10_000)
    assert len(colors) > 10 and max(colors)[0] > 64 * 128  # letters on one color


def test_names_too_long_for_a_picture_are_shortened():
    cls = am.label_map("cover", classes=["land that is covered by trees for more than half of a year"])
    named = cls().show(np.zeros((16, 16), np.uint8), 128)
    assert len(named.getcolors(10_000)) > 10


def test_depth_and_normal_metrics_are_the_textbook_ones():
    truth = np.full((4, 4), 2.0)
    assert Depth().score([truth * 1.5], [truth])["abs_rel"] == pytest.approx(0.5)
    assert Depth().score([truth * 1.2], [truth])["delta1"] == 1.0
    up, right = np.broadcast_to([0.0, 1, 0], (2, 2, 3)), np.broadcast_to([1.0, 0, 0], (2, 2, 3))
    assert Normal().score([up], [right])["mean_angle"] == pytest.approx(90)
    half = np.array([[0, 0], [1, 1]], np.uint8)
    assert Semseg().score([np.zeros((2, 2), np.uint8)], [half])["miou"] == pytest.approx((0.5 + 0) / 2)


def write_png(path: Path, width: int, height: int) -> None:
    """A valid header of a PNG of that size, and nothing behind it."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def hostile(folder: Path) -> dict[str, Path]:
    """Files that are not what their names say."""
    files = {
        k: folder / k for k in ("text.jpg", "cut.jpg", "huge.png", "empty.png", "pickle.npy", "folder.png", "no.png")
    }
    files["text.jpg"].write_text("this is no picture")
    Image.effect_noise((300, 300), 60).save(folder / "whole.jpg")
    files["cut.jpg"].write_bytes((folder / "whole.jpg").read_bytes()[:9000])
    write_png(files["huge.png"], 50_000, 50_000)
    files["empty.png"].write_bytes(b"")
    np.save(files["pickle.npy"], np.array([{"a": 1}], dtype=object), allow_pickle=True)
    files["folder.png"].mkdir()
    return files


@pytest.mark.parametrize("name", ["text.jpg", "cut.jpg", "huge.png", "empty.png", "pickle.npy", "folder.png", "no.png"])
def test_hostile_files_are_refused_with_their_name(tmp_path, name):
    path = hostile(tmp_path)[name]
    with pytest.raises(ValueProblem, match=name.replace(".", r"\.")):
        RGB().read(path)


def test_photographs_are_turned_upright(tmp_path):
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(RGB().read(tmp_path / "a.png"), upright)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("L", (9, 5), 200).convert("RGB" if mode == "RGBA" else "L").convert(mode).save(path)
    assert RGB().read(path).shape == (5, 9, 3)


def test_there_is_an_example_of_every_family():
    page = (Path(am.__file__).parents[1] / "docs" / "how-to" / "choose-a-family.md").read_text()
    for name, cls in vars(families).items():
        if isinstance(cls, type) and issubclass(cls, am.Modality):
            assert f"\n## {name}\n" in page, name
    for name in KINDS:
        assert KINDS[name].base.__name__ in page


def test_a_modality_made_in_place_is_complete():
    planet = am.image("planet", channels=6, low=0, high=1e4)
    value = np.random.default_rng(0).random((64, 64, 6)).astype(np.float32) * 1e4
    modality = planet(size=64, patch=16)
    assert modality.streams()[0].space.shape == (4, 4)
    assert np.allclose(modality.postprocess(modality.preprocess(value)), value, atol=1)
    with pytest.raises(PluginError, match="did you mean 'size'"):
        planet(siez=3)
    with pytest.raises(PluginError, match="must match"):
        am.image("Planet 9")


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("rgb", {"size": "big"}, "the setting 'size' of 'rgb': expected a whole number, got 'big'"),
        ("rgb", {"patch": 0}, "'patch' of 'rgb': expected at least 1, got 0"),
        ("rgb", {"size": 65, "patch": 8}, "rgb of 65 pixels a side does not split into patches of 8"),
        ("rgb", {"larger": 448}, "'larger' of 'rgb': expected a list, got 448"),
        ("rgb", {"larger": [450]}, "rgb of 450 pixels a side does not split"),
        ("rgb", {"larger": [224]}, "give each once"),
        ("rgb", {"learned_positions": 1}, "expected true or false, got 1"),
        ("canny_edge", {"low": "abc"}, "'low' of 'canny_edge': expected a number, got 'abc'"),
        ("depth", {"high": float("inf")}, "'high' of 'depth': expected a finite number, got inf"),
        ("depth", {"low": 5, "high": 2}, "low must be below high"),
        ("depth", {"scaling": "log"}, "needs the nearest distance as low, above 0; got 0"),
        ("depth", {"scaling": "linear"}, "'log' or 'standardize', got 'linear'"),
        ("det", {"order": "size"}, "the order of det is one of .*, got 'size'"),
        ("caption", {"length": -1}, "'length' of 'caption': expected at least 1"),
        ("caption", {"shared": 1}, "expected true or false, got 1"),
        ("semseg", {"labels": 5}, "expected a list, got 5"),
    ],
)
def test_numbers_that_no_value_can_have_are_refused_at_once(name, settings, words):
    with pytest.raises(ConfigError, match=words):
        registry().modality(name)(**settings)


def test_tokens_stay_what_they_are_where_the_model_learns_their_places():
    fixed, learned = (registry().modality("depth")(learned_positions=each) for each in (False, True))
    assert [s.space.learned for s in (*fixed.streams(), *learned.streams())] == [False, True]
    pictures = registry().modality("rgb")(learned_positions=True)
    assert {s.name: s.space.learned for s in pictures.streams()} == {"rgb.pixels": True, "rgb": True}
    assert learned.other_tokens(fixed.config()) == fixed.other_tokens(learned.config()) == ""
    assert learned.other_tokens({**fixed.config(), "patch": 8}) == "patch 8 of 'depth', not 16"


class Bands(am.PixelModality):
    """Reflectance in 12 bands, 0 to 1."""

    channels = 12


@pytest.mark.parametrize("channels", [1, 12])
def test_pixels_have_any_number_of_channels(channels):
    shape = (32, 32) if channels == 1 else (32, 32, channels)
    pixels = type("Bands", (am.PixelModality,), {"__doc__": "Reflectance, 0 to 1.", "channels": channels})(**SIZE)
    (rows,) = pixels.tokenize([np.full(shape, 0.75, np.float32)])["bands.pixels"]
    assert rows.shape == (16, 64 * channels) and np.allclose(rows, 0.5)
    stated = type("Bands", (Bands,), {"mean": (0.75,) * 12})(**SIZE)
    assert np.allclose(stated.patches(np.full((32, 32, 12), 0.75, np.float32)), 0)


@pytest.mark.parametrize(
    ("key", "numbers", "words"),
    [
        ("mean", (0.1, 0.2, 0.3), r"mean of modality 'bands' is a finite number for each of its 12 channels"),
        ("std", (0.0,) * 12, r"std of modality 'bands' is a finite number above 0 for each of its 12 channels"),
        ("mean", 0.5, r"not 0\.5"),
    ],
)
def test_numbers_of_pixels_that_do_not_fit_their_channels_are_named(key, numbers, words):
    with pytest.raises(PluginError, match=words):
        type("Bands", (Bands,), {key: numbers}).validate()


def test_other_threads_find_a_tokenizer_once_it_is_on_its_device():
    modality, found = Depth(), []

    class Tokenizer:
        def to(self, device: str) -> None:
            found.append((device, modality._tokenizer))

    modality.to("cpu")
    modality.pending = Tokenizer
    assert isinstance(modality.tokenizer, Tokenizer) and found == [("cpu", None)]
