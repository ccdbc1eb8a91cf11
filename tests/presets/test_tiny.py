"""The embedded model: small, quick, and as good as the README says (on fewer scenes than the benchmark uses)."""

from __future__ import annotations

import json
import re
import runpy
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from anymodal_scenes import BASIC, render, write
from processor_time import slowness

import anymodal as am
from anymodal.config import load_config
from anymodal.nn.device import one_thread
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.warm_start import completed
from benchmarks import quality, speedrun

ROOT = Path(__file__).parents[2]
MEGABYTES = 24


@pytest.fixture(scope="module")
def tiny() -> am.AnyModel:
    return am.load("tiny")


@pytest.fixture(scope="module")
def side(tiny) -> int:
    """Pixels of the pictures that it sees."""
    return tiny.modalities["rgb"].size


def test_all_weights_together_are_small():
    folder = Path(am.registry().preset("tiny").folder)
    sizes = [p.stat().st_size for p in folder.parent.rglob("*.safetensors")]
    assert 0 < sum(sizes) <= MEGABYTES * 1e6


def test_it_says_what_the_readme_claims_of_held_out_scenes(tiny, side):
    scenes = [render(quality.HELD_OUT_SEED, i, side, BASIC) for i in range(1000, 1040)]
    constants = quality.fit_constants([render(quality.TRAIN_SEED, i, side, BASIC) for i in range(60)])
    result = quality.from_pictures(tiny, scenes, constants)
    assert result["depth"]["abs_rel"] <= 0.5 * result["depth"]["abs_rel_constant"]
    assert result["normal"]["mean_angle"] <= 0.5 * result["normal"]["mean_angle_constant"]
    assert result["semseg"]["miou"] >= 0.6 and result["semseg"]["miou_tokenizer"] >= 0.75
    assert result["caption"]["f1"] >= 0.6
    assert_is_measured("rgb_to", result)


def assert_is_measured(part, result):
    """All of the thresholds of the speedrun that are of a part of the figures are of something that is in them."""
    names = [name for name in (*speedrun.MOST, *speedrun.LEAST) if name.startswith(f"{part}.")]
    assert len(names) > 3 and all(speedrun.figure({part: result}, name) >= 0 for name in names)


def test_captions_steer_pictures(tiny, side):
    scenes = [render(quality.HELD_OUT_SEED, i, side, BASIC) for i in range(1000, 1040)]
    judged = quality.from_captions(tiny, scenes)
    assert judged["kinds_found"]["own"] > 2 * judged["kinds_found"]["shuffled"]
    assert judged["color_share"]["own"] > judged["color_share"]["shuffled"]
    assert judged["pairs_read"]["own"] > judged["pairs_read"]["shuffled"]
    assert_is_measured("caption_to_rgb", judged)


def test_a_penalty_of_beams_prefers_longer_captions(tiny):
    inputs = [{"rgb": am.sample(name)} for name in ("chelsea", "rocket")]
    short, long = (
        [len(each.tokens["caption"]) for each in tiny.generate_batch(inputs, "caption", scheme=f"beam:4:{penalty}")]
        for penalty in (0, 4)
    )
    assert short != long and all(a <= b for a, b in zip(short, long, strict=True))


@pytest.mark.timing
def test_boxes_get_outlines_of_what_is_in_them(tiny, side, tmp_path):
    write(tmp_path, 5, quality.HELD_OUT_SEED, side, workers=1)
    scores = am.evaluate("instance", tmp_path, tiny).scores
    assert scores["model"]["miou"] > max(0.45, scores["shuffled"]["miou"])


def test_everything_from_one_picture_in_seconds(tiny, side):
    picture = render(5, 5, side).rgb
    with one_thread():
        tiny.generate({"rgb": picture}, "depth")
        began = time.process_time()
        out = tiny.generate({"rgb": picture})
        assert len(out) == 19 and time.process_time() - began < 6 * slowness()  # about 1.5 s on an idle core


def test_many_values_are_shown_in_several_lines(tiny, side):
    picture = {"rgb": render(5, 5, side).rgb}
    out = tiny.generate(picture, ["depth", "normal", "caption", "canny_edge", "det", "clip", "dinov2", "web_text"])
    few = tiny.generate(picture, ["depth", "normal"])
    many, truth = out.show(tile=64), out.show({"depth": out["depth"]}, tile=64)
    assert many.height > 1.9 * few.show(tile=64).height and many.width < 5.5 * (64 + 8)
    assert many.height < truth.height < 1.6 * many.height  # only the line that has a truth gets one below


@pytest.mark.parametrize("name", ["clip", "dinov2", "imagebind"])
def test_tiny_teachers_tell_the_places_of_a_picture_apart(name):
    """A linear map from the features of a place to its class is right far more often than one from its pixels."""
    teacher = am.registry().labeler(f"tiny_{name}")()
    scenes = [render(7, i, 64, BASIC) for i in range(150)]
    features = np.stack(teacher.label([{"rgb": s.rgb} for s in scenes]))
    assert teacher.modality == name and features.shape == (150, 8, 8, 64) and features.dtype == np.float32
    cells = lambda x: x.reshape(-1, 8, 8, 8, 8, *x.shape[3:]).swapaxes(2, 3)  # noqa: E731
    classes = np.array([np.bincount(c).argmax() for c in cells(np.stack([s.semseg for s in scenes])).reshape(-1, 64)])
    pixels = cells(np.stack([s.rgb for s in scenes])).reshape(-1, 192) / 255
    assert linear_probe(features.reshape(-1, 64), classes) > 1.4 * linear_probe(pixels, classes)


@pytest.mark.parametrize("name", ["clip", "dinov2", "dinov2_global", "imagebind", "imagebind_global"])
def test_tiny_teachers_see_the_same_in_a_larger_picture(name):
    """They were trained at 64 pixels, to which larger pictures are brought; what they see then is no other scene."""
    teacher, numbers = am.registry().labeler(f"tiny_{name}")(), range(24)
    small, large = (
        np.stack(teacher.label([{"rgb": render(8, i, pixels, BASIC).rgb} for i in numbers])) for pixels in (64, 128)
    )
    assert large.shape == small.shape
    whole = [each.reshape(len(each), -1) - small.mean(0).ravel() for each in (small, large)]
    near = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in whole]
    likeness = near[1] @ near[0].T
    assert (likeness.argmax(1) == numbers).all() and np.diag(likeness).mean() > 0.9


def linear_probe(rows: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy on the last third of rows of a ridge regression fitted on the others."""
    rows = np.c_[(rows - rows.mean(0)) / (rows.std(0) + 1e-6), np.ones(len(rows))]
    split, known = 2 * len(rows) // 3, np.unique(classes)
    fit, wanted = rows[:split], (classes[:split, None] == known).astype(float)
    weights = np.linalg.solve(fit.T @ fit + len(fit) / 1000 * np.eye(fit.shape[1]), fit.T @ wanted)
    return float((known[(rows[split:] @ weights).argmax(1)] == classes[split:]).mean())


@pytest.mark.parametrize("name", ["dinov2_global", "imagebind_global"])
def test_tiny_teachers_know_a_picture_again(name):
    teacher = am.registry().labeler(f"tiny_{name}")()
    scenes = [render(8, i, 64, BASIC) for i in range(24)]
    seen = np.stack(teacher.label([{"rgb": s.rgb} for s in scenes]))
    again = np.stack(teacher.label([{"rgb": np.ascontiguousarray(s.rgb[4:60, 6:62])} for s in scenes]))
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    assert ((unit(again) @ unit(seen).T).argmax(1) == np.arange(24)).mean() >= 0.75


@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "coffee", "rocket"])
def test_photographs_of_any_shape_go_through(tiny, side, photo):
    out = tiny.generate({"rgb": ROOT / "examples" / "photos" / f"{photo}.jpg"}, ["depth", "caption"])
    assert out["depth"].shape == (side, side) and np.isfinite(out["depth"]).all() and out["caption"]


def test_the_sideways_photograph_is_turned_upright(tiny, side):
    value = tiny.accept({"rgb": ROOT / "examples" / "photos" / "astronaut.jpg"})["rgb"]
    face = value[5 * side // 64 : 25 * side // 64, 22 * side // 64 : 42 * side // 64].mean((0, 1))
    assert face[0] > face[2] + 20  # skin above the suit, not the flag beside it


def test_the_demo_runs(tmp_path, monkeypatch):
    """In this process, which has imported PyTorch."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path / "demo")])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    assert (tmp_path / "demo" / "grid.png").stat().st_size > 100_000


@pytest.mark.parametrize("page", ["docs/how-to/fine-tune.md", "examples/notebooks/label-and-fine-tune.ipynb"])
def test_pages_that_start_from_it_train_its_shape(tiny, page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    if page.endswith(".ipynb"):
        text = "".join(line for cell in json.loads(text)["cells"] for line in [*cell["source"], "\n"])
    found = re.search(r'(?:title="|%%writefile )mine\.yaml"?\n(.+?)(?:```|\n#|\Z)', text, re.DOTALL)
    assert found and "start: {model: tiny}" in found[1] and "encoder_depth" not in found[1]
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "mine.yaml").write_text(found[1])
    monkeypatch.chdir(tmp_path)
    config = completed(load_config(Path("mine.yaml"), TrainConfig))
    assert config.shape == tiny.transformer.config
