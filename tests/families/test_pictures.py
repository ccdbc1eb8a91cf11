"""Pictures for people: of empty values, of small ones and of odd shapes; and scores where there is nothing to score."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image
from processor_time import slowness

import anymodal as am
from anymodal.errors import ConfigError, ValueProblem
from anymodal.families.drawing import font_of, marked, paper, shortened, text_page, wrapped
from anymodal.outputs.sheet import GAP, TITLE, contact_sheet, gray_map

VOID = np.full((8, 8), 255, np.uint8)
EMPTY = {
    "det": [],
    "human_poses": [],
    "sam_instance": [],
    "caption": "",
    "web_text": " \n",
    "color_palette": np.zeros((0, 3), np.uint8),
    "metadata_image": {},
    "metadata_geometric": {},
    "metadata_semantic": {},
    "semseg": VOID,
}
SCENE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def modality(name, **settings):
    return am.registry().modality(name)(**settings)


def ink(picture) -> np.ndarray:
    """Where a picture differs from its corner, (H, W)."""
    pixels = np.asarray(picture.convert("RGB"), int)
    return np.abs(pixels - pixels[0, 0]).sum(-1) > 60


@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_value_says_so(name, size):
    picture = modality(name).show(EMPTY[name], size)
    assert picture.size == (size, size) and 0.003 < ink(picture).mean() < 0.4


@pytest.mark.parametrize("name", ["det", "human_poses", "sam_instance"])
def test_an_empty_value_leaves_the_picture_to_see(name):
    over = np.asarray(modality(name).show_over(EMPTY[name], SCENE, 64), int)
    assert (np.abs(over - SCENE).sum(-1) == 0).mean() > 0.6


@pytest.mark.parametrize("size", [48, 64, 224])
@pytest.mark.parametrize("text", ["a dog", "a red car on a road " * 5, "no end of words " * 400, "x" * 500])
def test_text_stays_on_its_page(text, size):
    marked = ink(text_page(text, size))
    assert marked.any() and not marked[0].any() and not marked[-1].any()
    assert not marked[:, 0].any() and not marked[:, -1].any()


def test_words_are_wrapped_and_broken_and_shortened():
    font = font_of(10)
    lines = wrapped("a few words and one " + "m" * 90, 80, font, 99)
    assert "".join(lines).replace(" ", "") == "afewwordsandone" + "m" * 90
    assert all(font.getlength(line) <= 80 for line in lines)
    assert shortened("geometric complexity", 60, font).endswith("…") and shortened("short", 60, font) == "short"
    assert font.getlength(shortened("geometric complexity", 60, font)) <= 60


def test_names_of_classes_are_whole_and_apart():
    semseg = modality("semseg")
    value = np.full((64, 64), semseg.classes.index("wall-wood"), np.uint8)
    value[:, :6] = semseg.classes.index("floor-wood")
    value[60:, :] = semseg.classes.index("building-other-merged")
    pixels = np.asarray(semseg.show(value, 224), int)
    assert not (pixels[:, [0, -1]] == 255).all(-1).any(), "a name is cut at the side"
    assert not (pixels[[0, -1]] == 255).all(-1).any(), "a name is cut above or below"


def test_a_class_is_named_where_it_lies():
    areas = am.label_map("areas", classes=["grass", "person"])()
    value = np.zeros((64, 64), np.uint8)
    value[30:50, 24:44] = 1  # over the middle of what lies around it
    colors = np.asarray(areas.show(value * 0, 256))[0, 0]
    pixels = np.asarray(areas.show(np.where(value == 1, 255, 0), 256))
    assert (pixels == 255).all(-1).any(), "the name is missing"
    assert not (pixels[120:200, 96:176] == 255).all(-1).any(), "the grass is named on the person"
    assert (pixels[0, 0] == colors).all()


@pytest.mark.parametrize("shape", [(2, 60), (60, 2), (1, 1), (33, 47)])
@pytest.mark.parametrize("name", ["depth", "normal", "semseg", "canny_edge", "sam_edge", "rgb"])
def test_pictures_keep_the_shape_of_the_value(name, shape):
    one = modality(name)
    rest = (3,) if name in ("normal", "rgb") else ()
    picture = one.show(np.ones((*shape, *rest), np.float32 if name in ("depth", "normal") else np.uint8), 96)
    height, width = shape
    assert max(picture.size) == 96
    assert abs(picture.width / picture.height - width / height) <= max(width, height) / min(picture.size) / 2 + 1e-9


@pytest.mark.parametrize("value", [np.full((4, 4), np.nan), np.full((4, 4), np.inf), np.zeros((4, 4)), np.eye(4)])
@pytest.mark.parametrize("settings", [{}, {"scaling": "log", "low": 0.1, "high": 20.0}])
def test_depth_without_a_range_is_shown(value, settings):
    assert modality("depth", **settings).show(value.astype(np.float32), 32).size == (32, 32)


@pytest.mark.parametrize(
    ("name", "nothing", "something"),
    [
        ("semseg", VOID, np.zeros((8, 8), np.uint8)),
        ("depth", np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)),
        ("normal", np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), [0, 0, 1], np.float32)),
        ("color_palette", np.zeros((0, 3), np.uint8), np.array([[1, 2, 3]], np.uint8)),
    ],
)
def test_where_the_truth_says_nothing_nothing_is_wrong(name, nothing, something):
    one = modality(name)
    perfect = one.score([something], [something])
    assert one.score([something], [nothing]) == pytest.approx(perfect)
    assert one.score([something, something], [something, nothing]) == pytest.approx(perfect)


def test_a_palette_needs_no_announcement():
    assert modality("color_palette").parse("v0=1 v0=2 v0=3").tolist() == [[1, 2, 3]]


# Families.


def test_pictures_of_many_channels_come_back(tmp_path):
    planet = am.image("planet", channels=6, low=0, high=1e4)(size=32, patch=8)
    value = np.random.default_rng(0).uniform(0, 1e4, (32, 32, 6)).astype(np.float32)
    path = tmp_path / "new" / f"value{planet.suffixes[0]}"
    planet.write(value, path)
    assert path.suffix == ".npy" and np.array_equal(planet.read(path), value)
    with pytest.raises(ValueProblem, match=r"planet has 6; write \.npy"):
        planet.write(value, tmp_path / "value.png")


def test_bytes_are_written_as_they_are(tmp_path):
    shades = am.image("shades", channels=1, low=0, high=100, dtype="uint8")(size=32, patch=8)
    value = np.arange(100, dtype=np.uint8).reshape(10, 10)
    shades.write(value, tmp_path / "value.png")
    assert np.array_equal(shades.read(tmp_path / "value.png"), value)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_of_any_number_of_channels_are_resized_without_turning_black_to_white(channels):
    """Bicubic weights overshoot at an edge; bytes beyond 0..255 would come out at the other end."""
    planet = am.image("planet", channels=channels, low=0, high=255, dtype="uint8")(size=16, patch=8)
    value = np.zeros((8, 8, channels), np.uint8)
    value[:4] = 250
    made = planet.crop(planet.accept(value), am.Crop()).reshape(16, 16, channels)
    assert made[:7].min() >= 200 and made[9:].max() <= 50
    true = np.asarray(Image.fromarray(value[..., 0]).resize((16, 16), Image.Resampling.BICUBIC), int)
    assert np.abs(made - true[..., None]).max() <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"bins": 1, "high": 1},
        {"bins": 10},
        {"low": 5, "high": 5, "bins": 9},
        {"edges": (2, 1), "high": 9},
        {"step": 0},
        {"low": -40, "high": 50},
    ],
)
def test_numbers_that_do_not_go_together(settings):
    with pytest.raises(ConfigError, match="got Number"):
        am.Number(0, **settings)


def test_a_checkpoint_cannot_know_classes_that_there_are_not():
    with pytest.raises(ConfigError, match="labels 0 to 132, got"):
        modality("semseg", labels=(3, 133))


def test_a_sheet_keeps_the_proportions_of_pictures():
    sheet = np.asarray(contact_sheet([[("wide", Image.new("RGB", (200, 100), "red"))]], tile=100))
    red = (sheet == (255, 0, 0)).all(-1)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert len(rows) == 50 and len(columns) == 100 and red.sum() == 5000
    assert rows[0] == GAP + TITLE + 25 and columns[0] == GAP


@pytest.mark.timing
@pytest.mark.parametrize("text", ["a b " * 50_000, "x" * 200_000, "\u200b " * 20_000, "家" * 20_000])
def test_a_page_of_a_long_text_is_drawn_at_once(text):
    start = time.process_time()
    assert text_page(text, 256).size == (256, 256)
    assert time.process_time() - start < 2 * slowness()


def test_what_does_not_count_as_an_edge_is_black():
    shown = np.asarray(modality("canny_edge").show(np.array([[0, 60], [127, 255]], np.uint8), 2))[..., 0]
    assert shown[0, 0] == shown[0, 1] == 0 and 100 < shown[1, 0] < 150 and shown[1, 1] == 255


def test_a_gray_map_says_what_its_white_is():
    """Maps of uncertainty are stretched, so that without a scale a sure one and an unsure one look alike."""
    values = np.linspace(0, 1, 64).reshape(8, 8)
    pictures = [np.asarray(gray_map(values * most, 256, "m")) for most in (0.3, 0.3, 80.0)]
    assert np.array_equal(pictures[0], pictures[1]) and pictures[0].shape == (256, 256, 3)
    changed = (pictures[0] != pictures[2]).any(-1)
    assert changed[200:].any() and not changed[:200].any()
    assert len(np.unique(np.asarray(gray_map(values, 64)))) == 64  # too small for words
    assert gray_map(np.full((8, 8), np.nan), 256).size == (256, 256)


def test_words_at_places_stay_in_the_picture():
    places = [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)]
    written = ink(marked(paper(256), places, ["67%", "100%", "5%"]))
    assert not written[:, 0].any() and not written[0].any() and not written[:, -1].any() and not written[-1].any()
    assert written[:40, :60].any() and written[-40:, -60:].any() and written[110:150, 110:150].any()


def test_how_many_draws_have_an_instance_stands_on_it():
    from anymodal_sam_instance import Instance

    sam = modality("sam_instance")
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], np.float32) * 0.3
    value = [Instance((corner,)), Instance((corner + 0.6,))]
    plain, told = (np.asarray(p) for p in (sam.show(value), sam.show_doubts(value, np.array([0.33, 0.5]))))
    changed = (plain != told).any(-1)
    assert changed[:90, :90].any() and changed[150:, 150:].any() and not changed[100:140].any()
