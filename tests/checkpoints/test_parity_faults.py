"""`verify` on recorded generation and masking: whole sets pass, and every kind of perturbed copy fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.command import verify
from recordings import FULL, needs_full_sets
from safetensors.numpy import load_file, save_file

pytestmark = needs_full_sets
RUNS = ("maskgit_cosine_t0", "roar_linear_t0", "guided_ar_det_t0", "multi_guided_maskgit_confidence")


def linked(folder: Path, source: str, *names: str) -> Path:
    """A folder of links to parts of a recorded set, so that single files can be replaced."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(FULL / source / name)
    return folder


def changed_json(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.unlink()
    path.write_text(json.dumps(value))


def changed_arrays(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    npz = path.suffix == ".npz"
    arrays = dict(np.load(path)) if npz else load_file(path)
    change(arrays)
    path.unlink()
    if npz:
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)


def failed(folder: Path, only: str) -> list[str]:
    results = list(verify(folder, only))
    assert results
    assert not [r.line() for r in results if r.skipped]
    return [r.case for r in results if r.failed]


@pytest.fixture
def generation(tmp_path: Path) -> Path:
    """Four of the recorded runs, the schedules and the helpers."""
    names = ("cases.json", "cases.npz", "filtering.json", "filtering.npz", "helpers.json", "helpers.npz")
    folder = linked(tmp_path, "golden2", *(f"generate/{name}" for name in (*names, "schedules.json")))
    linked(folder, "golden2", "fm/full21_recipe", "fm/gelu_bias", "fm/input_all21.npz")
    linked(folder, "golden", "text")

    def shorten(cases: list[dict[str, Any]]) -> None:
        cases[:] = [case for case in cases if case["name"] in RUNS]

    changed_json(folder / "generate/cases.json", shorten)
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    files = ("examples.json", "transfer_masking.json", "stats.json", "stats_raw_sequences.json")
    folder = linked(tmp_path, "golden2", *(f"masking/{name}" for name in files))
    return linked(folder, "golden", "text")


@pytest.mark.parametrize("only", ["generate", "masking"])
@pytest.mark.parametrize("name", ["golden", "golden2"])
def test_whole_sets_pass_and_nothing_is_skipped(name: str, only: str):
    assert failed(FULL / name, only) == []


def test_other_sizes_of_a_set_pass(generation: Path):
    assert failed(generation, "generate") == []


def one_more(key: str, where: tuple[int, ...] = (0, 0)) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[key][where] = arrays[key][where] ^ 1 if arrays[key].dtype == bool else arrays[key][where] + 1

    return change


@pytest.mark.parametrize(
    ("change", "case"),
    [
        (one_more("maskgit_cosine_t0/out/tok_semseg@224/tensor"), "maskgit_cosine_t0"),
        (one_more("maskgit_cosine_t0/step3/argmax_all_masked"), "maskgit_cosine_t0"),
        (one_more("maskgit_cosine_t0/in/rgb@224/input_mask", (0, slice(100))), "maskgit_cosine_t0"),
        (one_more("roar_linear_t0/in/caption/tensor"), "roar_linear_t0"),
        (one_more("guided_ar_det_t0/out/det/tensor", (1, 4)), "guided_ar_det_t0"),
        (
            lambda a: a.update(
                {k: v[:, ::-1] for k, v in a.items() if k.startswith("multi_guided_maskgit_confidence/step4/selected")}
            ),
            None,
        ),
        (
            one_more("multi_guided_maskgit_confidence/step1/selected_index_among_masked"),
            "multi_guided_maskgit_confidence",
        ),
    ],
)
def test_other_recorded_tokens_fail(generation: Path, change, case: str | None):
    changed_arrays(generation / "generate/cases.npz", change)
    assert failed(generation, "generate") == ([f"generate/{case}"] if case else [])


def set_steps(name: str, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(cases: list[dict[str, Any]]) -> None:
        for step in next(case for case in cases if case["name"] == name)["schedule"]:
            step.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "case"),
    [
        (set_steps("guided_ar_det_t0", cfg_scale=1.2), "guided_ar_det_t0"),
        (set_steps("guided_ar_det_t0", cfg_cond_domains=["caption"]), "guided_ar_det_t0"),
        (set_steps("roar_linear_t0", scheme="maskgit"), "roar_linear_t0"),
        (lambda cases: cases[1].update(seed=cases[1]["seed"] + 1), "roar_linear_t0"),
        (lambda cases: cases[0].update(rgb_roll=3), "maskgit_cosine_t0"),
        (lambda cases: cases[3]["cond_dicts_order"].reverse(), "multi_guided_maskgit_confidence"),
    ],
)
def test_other_recorded_settings_fail(generation: Path, change, case: str):
    changed_json(generation / "generate/cases.json", change)
    assert failed(generation, "generate") == [f"generate/{case}"]


@pytest.mark.parametrize(
    "key",
    [
        "custom_text/0_6/caption/tensor",
        "init_empty_target/caption/caption/tensor",
        "init_full_input/caption_with_eos/caption/tensor",
        "empty_seq/caption/tensor",
        "merge/out/caption/tensor",
        "empty_img/tok_depth@224/input_mask",
    ],
)
def test_other_recorded_helpers_fail(generation: Path, key: str):
    (generation / "generate/cases.json").unlink()
    changed_arrays(generation / "generate/helpers.npz", one_more(key))
    assert failed(generation, "generate") == ["generate/helpers"]


@pytest.mark.parametrize("kind", ["continue_schedule", "decreasing_temp_schedule", "cosine_schedule"])
def test_other_recorded_schedules_fail(generation: Path, kind: str):
    def change(recorded: dict[str, Any]) -> None:
        recorded[kind][3]["out"][0] += 1

    (generation / "generate/cases.json").unlink()
    changed_json(generation / "generate/schedules.json", change)
    assert failed(generation, "generate") == ["generate/schedules"]


def test_other_recorded_steps_fail(tmp_path: Path):
    names = ("cases.json", "grid.safetensors")
    folder = linked(linked(tmp_path, "golden", *(f"generate/{name}" for name in names)), "golden", "text")
    changed_arrays(folder / "generate/grid.safetensors", one_more("grid.rgb.uncond_logits64", (1, 5, 3)))
    assert failed(folder, "generate") == ["generate/parallel step rgb@224 -> tok_depth@224 guidance 2.0"]


def change_draw(index: int, draw: int, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda cases: cases[index]["draws"][draw].update(values)


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (0, change_draw(0, -1, keep_prob=0.34)),
        (1, change_draw(1, 2, value=1)),
        (2, lambda cases: cases[2]["draws"].pop()),
        (5, lambda cases: cases[5]["arguments"].update(target_budget=8)),
        (7, lambda cases: cases[7]["out"]["tensor"].__setitem__(1, 7)),
        (12, lambda cases: cases[12]["draws"][1]["masked"].__setitem__(1, True)),
        (14, lambda cases: cases[14]["ids_shuffle"].reverse()),
        (19, lambda cases: cases[19]["chunk"][1].append(9)),
    ],
)
def test_other_recorded_masks_fail(masks: Path, index: int, change):
    (masks / "masking/stats.json").unlink()
    changed_json(masks / "masking/examples.json", change)
    found = failed(masks, "masking")
    assert len(found) == 1 and found[0].startswith(f"masking/examples {index} ")


@pytest.mark.parametrize(
    ("kind", "name", "factor"),
    [("input_tokens", "caption", 2.5), ("target_budget", "tok_clip@224", 0.3), ("total_input_tokens", None, 0.94)],
)
def test_other_recorded_distributions_fail(masks: Path, kind: str, name: str | None, factor: float):
    def change(recorded: dict[str, Any]) -> None:
        del recorded["mixture7"]
        recorded["single"]["draws"] = 400
        numbers = recorded["single"][kind]
        (numbers[name] if name else numbers)["mean"] *= factor

    (masks / "masking/examples.json").unlink()
    changed_json(masks / "masking/stats.json", change)
    assert failed(masks, "masking") == ["masking/stats single"]


def test_other_roles_and_budgets_fail(tmp_path: Path):
    folder = linked(linked(tmp_path, "golden2", "masking/transfer_masking.json"), "golden", "text")
    linked(folder, "golden", "masking/budgets.json")

    def swap(case: dict[str, Any]) -> None:
        case["input_modalities"], case["target_modalities"] = case["target_modalities"], case["input_modalities"]

    def shift(recorded: dict[str, Any]) -> None:
        recorded["components"] = recorded["components"][2:3]
        for key in recorded["alphas"].values():
            key["input_alphas"], key["target_alphas"] = key["input_alphas"][2:], key["target_alphas"][2:]
        recorded["components"][0]["input_mean"]["caption"] *= 1.2

    changed_json(folder / "masking/transfer_masking.json", swap)
    changed_json(folder / "masking/budgets.json", shift)
    assert failed(folder, "masking") == ["masking/budgets component 0", "masking/transfer_masking"]


def test_a_missing_model_is_named(generation: Path):
    (generation / "fm/gelu_bias").unlink()
    lines = [r.line() for r in verify(generation, "generate") if r.failed]
    assert len(lines) == 1 and "gelu_bias" in lines[0]
