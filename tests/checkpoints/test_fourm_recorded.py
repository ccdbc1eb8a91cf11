"""`verify` on a recorded set: every published key is known, its cases pass, and a changed or damaged copy fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from parity.command import main, verify
from parity.recipes import closed_form
from parity.results import Result, gap
from recordings import FULL, SMALL, needs_full_sets
from safetensors.torch import load_file, save_file

from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.checkpoints.formats.fourm.model import transformer_keys
from anymodal.checkpoints.formats.fourm.tokenizer_config import parse_tokenizer_config
from anymodal.checkpoints.formats.fourm.tokenizers import tokenizer_keys
from anymodal.model import Transformer
from anymodal.tokenizers.diffusion import build as build_tokenizer


def test_closed_form_values():
    """The first values that a recorded set lists for one of its tensors (seed 1031)."""
    values = closed_form("mask_token", (32,), 1031, 0.0, 0.34641000628471375)
    assert values[:4] == pytest.approx(
        [0.2710566818714142, 0.20010331273078918, -0.12092243880033493, -0.18208001554012299]
    )


@pytest.mark.parametrize(
    ("folder", "count"), [(SMALL, 4), pytest.param(FULL / "golden2", 19, marks=needs_full_sets)], ids=["small", "full"]
)
def test_every_published_key_is_accounted_for(folder: Path, count: int):
    paths = sorted((folder / "shapes").glob("4M*.json"))
    assert len(paths) == count
    for path in paths:
        recorded = json.loads(path.read_text())
        expected = {name: tuple(shape) for name, (shape, _) in recorded["tensors"].items()}
        with torch.device("meta"):
            if "domains_in" in recorded["config"]:
                keys = transformer_keys(Transformer(*parse_model_config(recorded["config"], path.name)))
            else:
                keys = list(tokenizer_keys(build_tokenizer(parse_tokenizer_config(recorded["config"], path.name))))
        assert {key.name: key.shape for key in keys} == expected, path.name


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A copy of the smallest cases of a recorded set."""
    source = FULL / "golden2/fm"
    (tmp_path / "set/fm").mkdir(parents=True)
    for path in [*source.glob("gelu_bias*"), *source.glob("qknorm_single*"), *source.glob("input_*.npz")]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / "set/fm" / path.name)
    return tmp_path / "set"


@needs_full_sets
def test_recorded_cases_pass_and_a_perturbed_copy_fails(recorded: Path):
    done = CliRunner().invoke(main, [str(recorded)])
    assert done.exit_code == 0, done.output
    assert "3 passed, 0 failed" in done.output
    path = recorded / "fm/gelu_bias/model.safetensors"
    state = load_file(path)
    state["encoder.1.mlp.fc2.weight"][0].add_(0.02)
    save_file(state, path)
    done = CliRunner().invoke(main, [str(recorded)])
    assert done.exit_code == 1
    assert "FAIL  fm/gelu_bias.case0" in done.output


@needs_full_sets
def test_a_damaged_case_fails_and_nothing_to_compare_is_no_success(recorded: Path, tmp_path: Path):
    (recorded / "fm/gelu_bias/model.safetensors").write_bytes(b"short")
    results = {result.case: result for result in verify(recorded)}
    assert results["fm/gelu_bias.case0"].failed
    assert results["fm/qknorm_single.case0"].passed
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(main, [str(tmp_path / "empty")]).exit_code == 1


def test_results_never_take_nonsense_for_agreement():
    assert gap([1.0, 2.0], [1.0]) == np.inf
    assert gap([np.nan], [1.0]) == np.inf
    assert gap([-np.inf, 1.0], [-np.inf, 1.0]) == 0
    assert Result("x", float("nan"), 1.0).failed
    assert not Result("x", skipped="later").passed
