"""Decoders that learn from the codes which a model expects, in place of those of the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anymodal_scenes import BASIC, Scene, render, write
from small_runs import GRID, STEPS, VIT, trained_tokenizer

import anymodal as am
from anymodal.checkpoints.tokenizer import load_tokenizer, save_tokenizer
from anymodal.config import structure
from anymodal.errors import ConfigError
from anymodal.training.tokenizers.config import ExpectedConfig, TokenizerRun
from anymodal.training.tokenizers.expected import ExpectedCodes, Sample, expected_codes
from anymodal.training.tokenizers.recipe import train_tokenizer

UNET = {"patch": 8, "channels": 32, "multipliers": [1], "blocks": 1}


@pytest.fixture(scope="module")
def tiny() -> am.AnyModel:
    return am.load("tiny", modalities=["rgb", "depth", "clip"], precision="float32")


@pytest.fixture(scope="module")
def folder(tiny: am.AnyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes and the tokenizer of depth that the model has."""
    folder = tmp_path_factory.mktemp("expected")
    write(folder / "scenes", 8, seed=1, size=128, workers=1, kinds=BASIC)
    save_tokenizer(tiny.modalities["depth"], folder / "depth")
    return folder


def keys(folder: Path, **expected: Any) -> dict[str, Any]:
    trained = str(folder / "depth")
    return {"modality": "depth", "start": trained, "codes": trained, "expected": {"model": "tiny", **expected}}


def rows_of(modality: am.Modality, scenes: list[Scene]) -> torch.Tensor:
    return torch.from_numpy(np.stack([modality.preprocess(scene.depth) for scene in scenes]))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tokenizer(folder).state_dict()


def test_they_are_what_is_decoded_when_the_model_generates(tiny: am.AnyModel) -> None:
    expected = expected_codes(ExpectedConfig(model="tiny"), tiny.modalities["depth"])
    scenes = [render(5, index, 128, BASIC) for index in range(2)]
    samples = [{"rgb": scene.rgb} for scene in scenes]
    depth = tiny.modalities["depth"]
    codes = expected([Sample(sample, 0) for sample in samples], rows_of(depth, scenes))
    assert codes.shape == (2, depth.side**2, depth.latent)
    read = depth.tokenizer._reconstruct(codes, (depth.side, depth.side))
    for values, sample in zip(read, samples, strict=True):
        made = depth.preprocess(tiny.generate(sample, ["depth"], views=1)["depth"])
        assert np.abs(values.detach().numpy().clip(-1, 1) - made).max() < 2e-3


def test_a_mean_is_that_which_the_model_is_set_to(tiny: am.AnyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` makes maps of normals and classes at temperatures below 1."""
    depth, scene = tiny.modalities["depth"], render(5, 0, 128, BASIC)

    def plain(tuned: dict[str, Any]) -> ExpectedCodes:
        expected = expected_codes(ExpectedConfig(model="tiny"), depth)
        monkeypatch.setattr(expected.model.modalities["depth"], "tuned", {"grounded": tuned})
        return ExpectedCodes(expected.model, "depth", expected.config)

    sample, rows = [Sample({"rgb": scene.rgb}, 0)], rows_of(depth, [scene])
    cold = {"scheme": "mean", "temperature": 0.1, "guidance": 1.0}
    sharp, drawn = plain(cold)(sample, rows), plain({"scheme": "roar", "temperature": 0.1})(sample, rows)
    known = depth.tokenizer.quantize.lookup(torch.arange(depth.codebook))
    distances = [torch.cdist(codes, known[None]).amin(2).mean() for codes in (sharp, drawn)]
    assert distances[0] < 0.5 * distances[1]  # nearer to single codes; where none is set, at temperature 1


def test_a_decoder_learns_to_make_of_them_what_is_true(tiny: am.AnyModel, folder: Path, tmp_path: Path) -> None:
    steps = {**STEPS, "steps": 40, "batch_size": 4, "lr": 5e-4, "schedule": {"warmup_steps": 8}}
    out = trained_tokenizer(folder / "scenes", tmp_path, training=steps, flip=False, **keys(folder, share=1.0))
    before, after = weights(folder / "depth"), weights(out)
    of_codes = ("encoder.", "quantize.", "quant_proj.")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(of_codes))

    scenes = [render(1, index, 128, BASIC) for index in range(8)]
    modality = tiny.modalities["depth"]
    truth = rows_of(modality, scenes)
    samples = [Sample({"rgb": scene.rgb}, 0) for scene in scenes]
    codes = expected_codes(ExpectedConfig(model="tiny"), modality)(samples, truth)
    errors = []
    for place in (folder / "depth", out):
        with torch.no_grad():
            read = load_tokenizer(place)._reconstruct(codes, (modality.side, modality.side))
        errors.append(float((read - truth).square().mean()))
    assert errors[1] < 0.97 * errors[0]


def test_ids_are_drawn_in_place_of_some_and_the_others_stay(tiny: am.AnyModel) -> None:
    depth, scene = tiny.modalities["depth"], render(5, 0, 128, BASIC)
    expected = expected_codes(ExpectedConfig(model="tiny", drawn=0.5), depth)
    rows, samples = rows_of(depth, [scene] * 12), [Sample({"rgb": scene.rgb}, seed) for seed in range(12)]
    codes, own = expected(samples, rows), depth.tokenizer.quantize.lookup(depth.tokenizer.encode(rows))
    known = depth.tokenizer.quantize.lookup(torch.arange(depth.codebook))
    assert torch.cdist(codes, known[None]).amin(2).max() < 1e-3  # codes of ids, not means
    others = (codes != own).any(2).float().mean(1)
    assert others.max() <= 0.5 and len(set(others.tolist())) > 6 and others.mean() > 0.1
    assert torch.equal(codes, expected(samples, rows))


def test_a_run_resumes_bit_for_bit_and_without_a_share_is_the_ordinary_one(folder: Path, tmp_path: Path) -> None:
    whole = weights(trained_tokenizer(folder / "scenes", tmp_path / "whole", **keys(folder)))
    none = weights(trained_tokenizer(folder / "scenes", tmp_path / "none", **keys(folder, share=0.0)))
    plain = {name: value for name, value in keys(folder).items() if name != "expected"}
    ordinary = weights(trained_tokenizer(folder / "scenes", tmp_path / "plain", **plain))
    assert all(torch.equal(none[name], ordinary[name]) for name in none)
    assert any(not torch.equal(none[name], whole[name]) for name in none)

    content = {"data": str(folder / "scenes"), **keys(folder)}
    config = structure({**content, "training": {**STEPS, "max_minutes": 1e-9}}, TokenizerRun, "a test")
    assert train_tokenizer(config, tmp_path / "parts") is None
    config = structure({**content, "training": STEPS}, TokenizerRun, "a test")
    resumed = weights(train_tokenizer(config, tmp_path / "parts", resume=True))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({"codes": None}, "expected needs codes"),
        ({"expected": {"model": "tiny", "given": ["depth"]}}, "given names 'depth' itself"),
        ({"expected": {"model": "tiny", "given": ["rbg"]}}, "tiny has no 'rbg'; did you mean 'rgb'"),
        ({"expected": {"model": "tiny", "share": 1.5}}, "share"),
        ({"sizes": [64, 128]}, "tiny makes 'depth' of 128 pixels a side, .* from 64: leave out sizes"),
        ({"settings": {"size": 64}}, "is to learn from 64: leave out sizes, or give settings.size 128"),
        ({"start": None, "unet": UNET}, "one that denoises reads no mean of codes"),
    ],
)
def test_what_cannot_be_expected_is_refused(changed: dict[str, Any], hint: str, folder: Path, tmp_path: Path) -> None:
    content = {"data": str(folder / "scenes"), "training": STEPS, **keys(folder), **changed}
    if "unet" in changed:
        content["settings"] = {
            key: getattr(am.load("tiny", modalities=["depth"]).modalities["depth"], key)
            for key in ("size", "patch", "codebook", "latent", "low", "high")
        }
    content = {key: value for key, value in content.items() if value is not None}
    with pytest.raises(ConfigError, match=hint):
        train_tokenizer(structure(content, TokenizerRun, "a test"), tmp_path)


def test_ids_of_another_tokenizer_are_refused(folder: Path, tmp_path: Path) -> None:
    settings = {**GRID, "size": 32}
    other = trained_tokenizer(
        folder / "scenes", tmp_path, modality="depth", settings=settings, encoder=VIT, decoder=VIT
    )
    content = {**keys(folder), "start": str(other), "codes": str(other)}
    config = structure({"data": str(folder / "scenes"), "training": STEPS, **content}, TokenizerRun, "a test")
    with pytest.raises(ConfigError, match="are those of another tokenizer than codes names"):
        train_tokenizer(config, tmp_path / "out")
