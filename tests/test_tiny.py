"""The embedded model: small, quick, and as good as the README says (on fewer scenes than the benchmark uses)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import anymodal as am
from anymodal.data.scenes import BASIC, render
from anymodal.hub import locate

ROOT = Path(__file__).parent.parent
MEGABYTES = 24


@pytest.fixture(scope="module")
def tiny() -> am.AnyModel:
    return am.load("tiny")


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quality", ROOT / "benchmarks" / "quality.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_weights_together_are_small():
    sizes = [p.stat().st_size for p in locate("tiny").rglob("*.safetensors")]
    assert 0 < sum(sizes) <= MEGABYTES * 1e6


def test_it_says_what_the_readme_claims_of_held_out_scenes(tiny, quality):
    scenes = [render(quality.HELD_OUT_SEED, i, 64, BASIC) for i in range(1000, 1040)]
    constants = quality.fit_constants([render(quality.TRAIN_SEED, i, 64, BASIC) for i in range(60)])
    result = quality.from_pictures(tiny, scenes, constants)
    assert result["depth"]["delta1"] >= 0.33
    assert result["normal"]["mean_angle"] <= 0.75 * result["normal"]["mean_angle_constant"]
    assert result["semseg"]["accuracy"] >= 0.6 and result["semseg"]["miou_tokenizer"] >= 0.75
    assert result["caption"]["f1"] >= 0.12


def test_captions_steer_pictures(tiny, quality):
    scenes = [render(quality.HELD_OUT_SEED, i, 64, BASIC) for i in range(1000, 1040)]
    kinds = quality.from_captions(tiny, scenes)["kinds_found"]
    assert kinds["own"] > 1.2 * kinds["shuffled"]


def test_everything_from_one_picture_in_seconds(tiny):
    picture = render(5, 5).rgb
    tiny.generate({"rgb": picture}, "depth")
    began = time.perf_counter()
    out = tiny.generate({"rgb": picture})
    assert len(out) == 6 and time.perf_counter() - began < 9  # about 1.5 s on two idle cores


@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "coffee", "rocket"])
def test_photographs_of_any_shape_go_through(tiny, photo):
    out = tiny.generate({"rgb": ROOT / "examples" / "photos" / f"{photo}.jpg"}, ["depth", "caption"])
    assert out["depth"].shape == (64, 64) and np.isfinite(out["depth"]).all() and out["caption"]


def test_the_sideways_photograph_is_turned_upright(tiny):
    value = tiny.accept({"rgb": ROOT / "examples" / "photos" / "astronaut.jpg"})["rgb"]
    face = value[5:25, 22:42].mean((0, 1))
    assert face[0] > face[2] + 20  # skin above the suit, not the flag beside it


def test_the_demo_runs(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", "--out", tmp_path / "demo"], check=True, capture_output=True
    )
    assert (tmp_path / "demo" / "grid.png").stat().st_size > 100_000
