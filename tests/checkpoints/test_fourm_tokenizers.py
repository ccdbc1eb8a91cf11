"""The check of recorded tokenizers: it passes on what was recorded, compares all of it, and fails on anything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.command import verify
from parity.results import Result
from recordings import FULL, needs_full_sets
from safetensors.torch import load_file, save_file

pytestmark = needs_full_sets


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A copy of the small cases of one set: folder tok/ below the path returned."""
    source, target = FULL / "golden2/tok", tmp_path / "set/tok"
    (target / "closed_form").mkdir(parents=True)
    for pattern in ("presets.json", "schedulers.*", "divae_rgb*", "vqvae_rgb*", "closed_form/divae_uvit_tiny*"):
        for path in source.glob(pattern):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, target / path.relative_to(source))
    return tmp_path / "set"


def results(folder: Path) -> dict[str, Result]:
    return {result.case.removeprefix("tok/"): result for result in verify(folder, "tok")}


def failed(folder: Path) -> list[str]:
    return [case for case, result in results(folder).items() if result.failed]


def test_recorded_cases_pass_and_none_is_skipped(recorded: Path) -> None:
    found = results(recorded)
    assert set(found) == {"closed_form/divae_uvit_tiny", "divae_rgb", "schedulers", "vqvae_rgb"}
    assert all(result.passed for result in found.values()), [result.line() for result in found.values()]


def change_weights(name: str, index: tuple[int, ...] = (0,)) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "divae_rgb/model.safetensors"
        state = load_file(path)
        state[name][index] += 0.25
        save_file(state, path)

    return change


def change_array(case: str, name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / f"{case}.npz"
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key].copy() for key in file.files}
        (key,) = [key for key in arrays if key.split("/flat_every_")[0] == name]
        arrays[key].reshape(-1)[-1] += 0.01 if arrays[key].dtype.kind == "f" else 1
        np.savez(path, **arrays)

    return change


def change_json(name: str, edit: Callable[[Any], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        raw = json.loads(path.read_text())
        edit(raw)
        path.write_text(json.dumps(raw))

    return change


@pytest.mark.parametrize(
    ("change", "case"),
    [
        (change_weights("decoder.out.2.bias"), "divae_rgb"),
        (change_weights("decoder.input_blocks.0.0.weight"), "divae_rgb"),
        (change_weights("encoder.blocks.0.attn.proj.bias"), "divae_rgb"),
        (change_array("divae_rgb", "encoder_out"), "divae_rgb"),
        (change_array("divae_rgb", "step_t999/prediction"), "divae_rgb"),
        (change_array("divae_rgb", "step_t417/prediction_cond_mask_even_rows"), "divae_rgb"),
        (change_array("divae_rgb", "sample/ddpm"), "divae_rgb"),
        (change_array("divae_rgb", "tokens"), "divae_rgb"),
        (change_array("vqvae_rgb", "larger/decode_tokens"), "vqvae_rgb"),
        (change_array("schedulers", "alphas_cumprod/7"), "schedulers"),
        (change_array("schedulers", "step/ddim/3/prev_sample"), "schedulers"),
        (change_array("schedulers", "get_noise"), "schedulers"),
        (change_json("schedulers.json", lambda raw: raw["timesteps"][6]["last"].reverse()), "schedulers"),
        (change_json("divae_rgb.json", lambda raw: raw["base"]["sampling"][0].update(steps=5)), "divae_rgb"),
        (change_json("divae_rgb/config.json", lambda raw: raw.update(beta_schedule="scaled_linear")), "divae_rgb"),
        (
            change_json("presets.json", lambda raw: raw["uvit_tiny_a"].update(mid_num_heads=2)),
            "closed_form/divae_uvit_tiny",
        ),
    ],
)
def test_a_perturbed_copy_fails(recorded: Path, change: Callable[[Path], None], case: str) -> None:
    change(recorded / "tok")
    assert failed(recorded) == [case]


def test_an_array_that_nothing_is_compared_with_is_no_success(recorded: Path) -> None:
    path = recorded / "tok/divae_rgb.npz"
    with np.load(path, allow_pickle=False) as file:
        np.savez(path.with_name("copy.npz"), **{key: file[key] for key in file.files}, surprise=np.zeros(3))
    path.with_name("copy.npz").replace(path)
    result = results(recorded)["divae_rgb"]
    assert result.failed and "'surprise'" in result.note


@pytest.mark.slow
@pytest.mark.parametrize(("name", "only"), [("golden", "tokenizers"), ("golden2", "tok")])
def test_whole_sets_pass_and_none_is_skipped(name: str, only: str) -> None:
    found = list(verify(FULL / name, only))
    assert len(found) >= 9
    assert all(result.passed for result in found), [result.line() for result in found]
