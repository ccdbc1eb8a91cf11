"""Seven modalities or all twenty-one: the same commands make a model, only the list differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anymodal_scenes import write
from click.testing import CliRunner
from small_runs import STEPS, VIT, model_config, trained_tokenizer, write_yaml

import anymodal as am
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.cli.generate import brief
from anymodal.cli.main import cli
from anymodal.plugins.registry import registry
from anymodal.tokenizers.diffusion import build

SCENES, SIZE, CHANNELS = 12, 32, 16
PIXELS = {"size": SIZE, "patch": 8}
PICTURE = {**PIXELS, "codebook": 16, "latent": 8}
VECTOR = {"channels": CHANNELS, "codebooks": 2, "codebook": 16, "latent": 8}
SEVEN: dict[str, dict[str, Any]] = {
    "depth": PICTURE,
    "normal": PICTURE,
    "semseg": {**PICTURE, "channels": 4},
    "canny_edge": PICTURE,
    "rgb": PICTURE,
    "caption": {"length": 24},
    "color_palette": {"length": 20},
}
FEATURES = {**PICTURE, "channels": CHANNELS}
ALL: dict[str, dict[str, Any]] = {
    **SEVEN,
    "sam_edge": PICTURE,
    "clip": FEATURES,
    "dinov2": FEATURES,
    "imagebind": FEATURES,
    "dinov2_global": VECTOR,
    "imagebind_global": VECTOR,
    "det": {"length": 32, "bins": 33},
    "human_poses": {"length": 48, "bins": 64, "codebook": 16, "latent": 8},
    "sam_instance": {"length": 32, "size": SIZE, "points": 1, "codebook": 16, "latent": 8},
    "metadata_image": {"length": 16, "levels": 64},
    "metadata_geometric": {"length": 8, "levels": 64},
    "metadata_semantic": {"length": 24, "levels": 64},
    "web_text": {"length": 16},
    "t5_caption": {"length": 16, "width": 24},
}
COMPONENTS = [
    {"inputs": {"rgb.pixels": 1}, "targets": {"*": 0.5, "semseg": 1}},
    {"inputs": {"*": 0.3}, "targets": {"*": 0.3}, "keep": {"*": "all"}},
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with all modalities, tokenizers of random weights, a vocabulary, and a recipe without a list."""
    root = tmp_path_factory.mktemp("tiny21")
    scenes, rng = root / "scenes", np.random.default_rng(0)
    write(scenes, SCENES, 7, SIZE, workers=1)
    shapes = {"t5_caption": (9, 24), "dinov2_global": (CHANNELS,), "imagebind_global": (CHANNELS,)}
    shapes |= dict.fromkeys(("clip", "dinov2", "imagebind"), (4, 4, CHANNELS))
    for name, shape in shapes.items():
        (scenes / name).mkdir()
        for index in range(SCENES):
            np.save(scenes / name / f"{index:08d}.npy", rng.standard_normal(shape).astype(np.float32))
    (scenes / "web_text").mkdir()
    for index in range(SCENES):
        (scenes / "web_text" / f"{index:08d}.txt").write_text("a car is a vehicle with four wheels")
    torch.manual_seed(0)
    for name, settings in ALL.items():
        modality = registry().modality(name)(**settings)
        if modality.has_tokenizer:
            net = {"width": 16, "blocks": 1} if type(modality).family in ("vector", "coded sequence") else {}
            if not net or getattr(modality, "grid", None):
                net = VIT
            modality.tokenizer = build(modality.tokenizer_config(net, net)).eval()
            save_tokenizer(modality, root / "tokenizers" / "modalities" / name)
    vocabulary = {"size": 900, "kinds": [256, 64, 64, 64]}
    trained_tokenizer(scenes, root / "tokenizers", modality="caption", vocabulary=vocabulary)
    training = {**STEPS, "steps": 3, "save_every": 3}
    model_config(root / "model.yaml", {}, COMPONENTS, input_tokens=16, target_tokens=64, training=training)
    return root


def command(*arguments: object) -> dict[str, Any]:
    """What a command reports with --json; an error of the command fails the test."""
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def trained(workshop: Path, modalities: dict[str, dict[str, Any]]) -> am.AnyModel:
    """The model of a list, made by the commands that make any."""
    name, listed = str(len(modalities)), f"modalities={json.dumps(modalities)}"
    options = ["--set", listed, "--set", f"data={workshop / name / 'tokens'}"]
    command(
        "tokenize", workshop / "scenes", "--config", workshop / "model.yaml", "--out", workshop / name / "tokens",
        "--workers", 1, *options,
    )  # fmt: skip
    made = command("train", workshop / "model.yaml", "--out", workshop / name / "run", *options)
    assert made["finished"]
    return am.load(made["model"])


@pytest.fixture(scope="module")
def everything(workshop: Path) -> am.AnyModel:
    return trained(workshop, ALL)


def test_seven_and_all_modalities_are_trained_by_the_same_commands(workshop: Path, everything: am.AnyModel) -> None:
    seven = trained(workshop, SEVEN)
    assert list(seven.modalities.modalities) == list(SEVEN)
    assert list(everything.modalities.modalities) == list(ALL)
    assert len(ALL) == 21 and set(everything.modalities.targets) == set(ALL) - {"t5_caption"}
    log = [json.loads(line) for line in (workshop / "21/run/log.jsonl").read_text().splitlines()]
    losses = {key for line in log for key in line if key.startswith("loss.")}
    assert losses == {f"loss.{name}" for name in everything.modalities.targets}, (
        "three steps of four samples ask for all of them"
    )
    assert all(np.isfinite(value) for line in log for key, value in line.items() if key.startswith("loss"))


def test_kinds_of_value_tokens_may_have_numbers_of_their_own(workshop: Path, everything: am.AnyModel) -> None:
    assert everything.modalities.vocabulary.bins == (256, 64, 64, 64)
    wrong = {"modality": "caption", "data": str(workshop / "scenes"), "vocabulary": {"kinds": [256, 64]}}
    path = write_yaml(workshop / "wrong.yaml", **wrong)
    with pytest.raises(am.AnymodalError, match="kinds must be 4 numbers"):
        command("train-tokenizer", path, "--out", workshop / "wrong")


def test_every_modality_is_generated_from_a_picture_and_shown(workshop: Path, everything: am.AnyModel) -> None:
    picture = workshop / "scenes/rgb/00000003.png"
    for name in everything.modalities.targets:
        given = {"caption": "a red car"} if name == "rgb" else {"rgb": picture}
        out = everything.generate(given, name, seed=1)
        assert everything.modalities[name].show(out[name], 64).size
        everything.modalities[name].accept(out[name])
    rows = np.load(workshop / "scenes/t5_caption/00000003.npy")
    out = everything.generate({"t5_caption": rows}, ["depth", "caption"], seed=1)
    assert out["depth"].shape == (SIZE, SIZE) and isinstance(out["caption"], str)


def test_values_of_many_parts_are_told_in_one_line(workshop: Path, everything: am.AnyModel) -> None:
    outline = [[k / 40, (k * k % 40) / 40] for k in range(40)]
    (workshop / "two.json").write_text(json.dumps({"instances": [{"outlines": [outline]}] * 2}))
    told = command(
        "generate", f"sam_instance={workshop / 'two.json'}", f"rgb={workshop / 'scenes/rgb/00000003.png'}",
        "--to", "metadata_image,dinov2_global", "--model", workshop / "21/run/model",
    )["values"]  # fmt: skip
    assert told["dinov2_global"] == "float32 16" and told["metadata_image"].startswith("{")
    assert brief(everything.accept({"sam_instance": workshop / "two.json"})["sam_instance"]) == "2 x Instance"
