"""The numbers of the published code that the repository holds: all are met, and any other number is noticed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.command import verify
from parity.masking.statistics import _mean_error
from parity.results import worst
from recordings import FULL, SMALL, needs_full_sets
from safetensors.numpy import load_file, save_file

from anymodal.checkpoints.formats.fourm.layout import VOCABULARY

LARGEST = 1_000_000  # bytes of all recordings in the repository
CASES = {
    "fm": {"fm/full21", "fm/gelu"},
    "generate": {
        "generate/schedules",
        "generate/filtering",
        "generate/autoregressive rgb@224 -> caption guidance 1.0",
        "generate/autoregressive rgb@224 -> caption guidance 2.0",
        "generate/parallel step rgb@224 -> tok_depth@224 guidance 2.0",
    },
    "text": {
        *(f"text/{name}" for name in ("det", "metadata", "color_palette", "human_poses")),
        *("text/span_masking", "text/span_merge", "text/transforms/body_pose"),
        *(f"text/transforms/{name}" for name in ("det", "caption", "metadata", "human_poses")),
        *(f"text/transforms/{name}" for name in ("color_palette", "sam_instance", "t5_caption")),
    },
    "masking": {
        *(f"masking/budgets component {number}" for number in range(7)),
        *(f"masking/examples {number} sequence_mask" for number in range(11)),
        *("masking/examples 11 sequence_token_mask", "masking/examples 12 sequence_emb_mask_span"),
        *(f"masking/examples {number} image_mask" for number in range(13, 17)),
        *(f"masking/examples {number} span_masking" for number in range(17, 23)),
    },
    "tok": {"tok/closed_form/divae_uvit_tiny", "tok/vqvae_human_poses", "tok/vqvae_sam"},
}
WITHOUT_VOCABULARY = {"text": {"text/serialisation", "text/transforms/tok_rgb"}}


@pytest.mark.parametrize("suite", CASES)
def test_every_recorded_number_is_met(suite: str) -> None:
    """Also fails where a file of the set is missing: its cases are then not among the results."""
    found = list(verify(SMALL, suite))
    assert {r.case for r in found if r.passed} == CASES[suite], [r.line() for r in found if not r.passed]
    assert {r.case for r in found if r.skipped} == WITHOUT_VOCABULARY.get(suite, set())


def test_a_strange_vocabulary_beside_the_set_is_not_used(tmp_path: Path) -> None:
    beside = tmp_path / "other/text" / VOCABULARY
    beside.parent.mkdir(parents=True)
    beside.write_text("{}")
    copied(tmp_path / "set", "text/serialisation.json")
    assert "text/serialisation" in {r.case for r in verify(tmp_path / "set", "text") if r.skipped}


def test_the_command_compares_a_folder(tmp_path: Path) -> None:
    """A script that is run by its path, with libraries and not its own files under their names."""
    copied(tmp_path, "tok/presets.json", "tok/vqvae_sam*", "text/span_merge.json")
    command = [sys.executable, str(Path(__file__).parents[1] / "parity"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", "text/span_merge"], ["ok", "tok/vqvae_sam"]]
    assert lines[-1] == "2 passed, 0 failed, 0 skipped"
    (tmp_path / "tok/vqvae_sam/model.safetensors").write_bytes(b"short")
    done = subprocess.run([*command, "--only", "tok"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("FAIL  tok/vqvae_sam")


def test_the_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in SMALL.parent.rglob("*") if path.is_file()) < LARGEST


@needs_full_sets
def test_the_recordings_are_copies_of_the_full_sets() -> None:
    cut = {"README.md", "generate/cases.json", "generate/grid.safetensors"}
    for path in (path for path in SMALL.rglob("*") if path.is_file()):
        name = path.relative_to(SMALL).as_posix()
        originals = [FULL / part / name for part in ("golden", "golden2")]
        assert name in cut or path.read_bytes() in [p.read_bytes() for p in originals if p.is_file()], name
    mine, theirs = (load_file(folder / "generate/grid.safetensors") for folder in (SMALL, FULL / "golden"))
    assert mine and all(np.array_equal(value, theirs[key]) for key, value in mine.items())
    mine, theirs = (json.loads((folder / "generate/cases.json").read_text()) for folder in (SMALL, FULL / "golden"))
    assert mine | {"cases": []} == theirs | {"cases": []} and all(case in theirs["cases"] for case in mine["cases"])


# Other numbers are noticed.


def test_what_is_no_number_is_out_of_tolerance_wherever_it_stands() -> None:
    for errors in ({"one": 0.0, "two": float("nan")}, {"one": float("nan"), "two": 0.0}):
        assert worst("case", errors, 1.0).failed
    assert np.isnan(_mean_error(np.array([np.nan]), 1.0, 1.0, 9)) and _mean_error(np.ones(9), 1.0, 0.0, 9) == 0


def copied(folder: Path, *patterns: str) -> Path:
    """A folder with a copy of a part of the set."""
    for path in (path for pattern in patterns for path in SMALL.glob(pattern)):
        target = folder / path.relative_to(SMALL)
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    return folder


def in_json(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return write


def in_arrays(name: str, key: str, step: float) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / name
        npz = path.suffix == ".npz"
        arrays = {k: v.copy() for k, v in (np.load(path) if npz else load_file(path)).items()}
        numbers = arrays[key].reshape(-1)
        numbers[np.isfinite(numbers).argmax()] += np.array(step, numbers.dtype)
        np.savez(path, **arrays) if npz else save_file(arrays, path)

    return write


def first_component(recorded: dict[str, Any]) -> None:
    recorded["components"] = recorded["components"][:1]
    recorded["components"][0]["input_total_mean"] *= 1.2


def another_caption(recorded: dict[str, Any]) -> None:
    recorded["cases"] = recorded["cases"][:1]
    recorded["cases"][0]["greedy_ids"][1][3] += 1


@pytest.mark.parametrize(
    ("parts", "change", "case"),
    [
        (["fm/gelu"], in_arrays("fm/gelu/outputs.safetensors", "encoder_output", 1e-3), "fm/gelu"),
        (["fm/gelu"], in_arrays("fm/gelu/outputs.safetensors", "logits64.caption", 1e-3), "fm/gelu"),
        (["fm/gelu"], in_json("fm/gelu/config.json", lambda raw: raw.update(act_layer="SiLU")), "fm/gelu"),
        (
            ["generate/schedules.json"],
            in_json("generate/schedules.json", lambda raw: raw["linear_temperature"][0][2].append(9.0)),
            "generate/schedules",
        ),
        (
            ["generate/filtering.safetensors"],
            in_arrays("generate/filtering.safetensors", "top_k=5,top_p=0.0", 1),
            "generate/filtering",
        ),
        (
            ["generate/cases.json"],
            in_json("generate/cases.json", another_caption),
            "generate/autoregressive rgb@224 -> caption guidance 1.0",
        ),
        (["masking/budgets.json"], in_json("masking/budgets.json", first_component), "masking/budgets component 0"),
        (
            ["masking/examples.json"],
            in_json("masking/examples.json", lambda raw: raw[19]["chunk"][1].append(9)),
            "masking/examples 19 span_masking",
        ),
        (
            ["text/serialisation.json"],
            in_json("text/serialisation.json", lambda raw: raw["color_palette"][1].update(string="color = v0=3")),
            "text/color_palette",
        ),
        (["tok/presets.json", "tok/vqvae_sam*"], in_arrays("tok/vqvae_sam.npz", "base/tokens", 1), "tok/vqvae_sam"),
    ],
)
def test_another_number_is_noticed(tmp_path: Path, parts: list[str], change: Any, case: str) -> None:
    change(copied(tmp_path / "set", *parts))
    assert [r.case for r in verify(tmp_path / "set") if r.failed] == [case]
