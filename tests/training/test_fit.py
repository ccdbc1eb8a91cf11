"""Custom sets in a notebook cell: values in memory, by name, to a model that generates."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

import anymodal as am
from anymodal.errors import ConfigError
from anymodal.families import StructuredModality
from anymodal.generation.state import SampleState, StreamTokens
from anymodal.masking import Masker
from anymodal.model import ModelConfig
from anymodal.testing.tiny import shrunk
from anymodal.tokens import collate
from anymodal.training.in_memory import _every_way, fit


def samples(count: int = 8) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        warm = bool(rng.integers(0, 2))
        color = (220, 60, 40) if warm else (40, 60, 220)
        found.append({
            "rgb": np.full((32, 32, 3), color, np.uint8),
            "thermal": np.full((32, 32), 310.0 if warm else 250.0, np.float32),
            "caption": "a warm wall" if warm else "a cold wall",
        })  # fmt: skip
    return found


def test_a_set_by_name_trains_and_generates(notebook):
    notebook.add(am.image("thermal", channels=1, low=233, high=393))
    together = am.ModalitySet(["rgb", "thermal", "caption"])
    assert repr(together) == "ModalitySet(rgb, thermal, caption)"
    model = fit(together, samples(2), steps=2, tokenizer_steps=1, dim=32, batch_size=2)
    out = model.generate({"rgb": samples(1)[0]["rgb"]}, ["thermal", "caption"], steps=1)
    assert out["thermal"].shape == (224, 224) and isinstance(out["caption"], str)


def test_every_target_is_told_and_kept_in_a_history_that_draws_itself():
    settings = {"size": 32, "patch": 8, "codebook": 16, "latent": 4}
    members = [
        am.image("thermal", channels=1, low=233, high=393)(**settings),
        am.registry().modality("rgb")(**settings),
    ]
    told = []
    model = fit(
        am.ModalitySet([*members, "caption"]), samples(4), steps=6, tokenizer_steps=4, dim=32, progress=told.append
    )
    assert model.history is not None and list(model.history) == told
    steps = {name: [step.step for step in steps] for name, steps in model.history.targets.items()}
    assert steps == {"thermal": [1, 2, 3, 4], "rgb": [1, 2, 3, 4], "model": [1, 2, 3, 4, 5, 6]}
    assert all(step.total == len(steps[step.target]) and step.loss > 0 and step.partial is None for step in told)
    assert repr(model.history).startswith("History(thermal ")
    drawn = model.history.plot(320, 200)
    assert drawn.size == (320, 200) and len(drawn.getcolors(320 * 200)) > 4 and model.history._repr_png_()


def test_a_small_set_learns():
    settings = {"size": 32, "patch": 8, "codebook": 16, "latent": 4}
    thermal = am.image("thermal", channels=1, low=233, high=393)(**settings)
    rgb = am.registry().modality("rgb")(**settings)
    model = fit(am.ModalitySet([rgb, thermal, "caption"]), samples(), steps=240, tokenizer_steps=60, dim=48)
    for sample in samples(4):
        out = model.generate({"rgb": sample["rgb"]}, ["thermal", "caption"], guidance=1.0, temperature=0.1)
        assert np.abs(out["thermal"] - sample["thermal"]).mean() < 20
        assert out["caption"] == sample["caption"]


@pytest.mark.parametrize("target", ["thermal", "model"])
def test_a_request_to_end_is_not_answered_with_a_model_that_learned_half(target):
    class Ended(Exception):
        pass

    def end(number, frame):
        raise Ended

    def asked(step):
        if (step.target, step.step) == (target, 2):
            os.kill(os.getpid(), signal.SIGTERM)

    thermal = am.image("thermal", channels=1, low=233, high=393)(size=32, patch=16, codebook=8, latent=4)
    walls = [{"thermal": np.full((32, 32), 250.0)}] * 4
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended):
            fit(am.ModalitySet([thermal]), walls, steps=4, tokenizer_steps=4, dim=16, progress=asked)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_text_is_learned_from_what_the_encoder_reads_when_it_is_generated(vocabulary):
    """One [S_1] stands for a text that is not there yet (4M, arXiv 2312.06647)."""
    together = am.ModalitySet([am.plain_text("title"), "caption"], vocabulary)
    model = am.AnyModel(together, ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2))
    tokens = model.tokenize({"title": "a red car", "caption": "a blue cup"})
    masker = Masker(together.layout, _every_way(model))
    state = SampleState(together.layout, {"title": StreamTokens.whole(tokens["title"])})
    state.open(together.layout["caption"])
    generated = collate([state.pack()], together.layout).inputs
    learned = [collate([masker(tokens, np.random.default_rng(seed), 1)], together.layout).inputs for seed in range(20)]
    same = [
        torch.equal(each.ids, generated.ids) and torch.equal(each.positions, generated.positions) for each in learned
    ]
    assert sum(same) > 15  # a budget may leave out the end of an input


@pytest.mark.parametrize(("steps", "little"), [(49, True), (50, False)])
def test_too_little_training_is_said(caplog, steps, little):
    thermal = am.image("thermal", channels=1, low=233, high=393)(size=32, patch=16, codebook=8, latent=4)
    walls = [{"thermal": np.full((32, 32), 250.0)}] * 20
    fit(am.ModalitySet([thermal]), walls, steps=steps, tokenizer_steps=50, dim=16, batch_size=8)
    told = [record.getMessage() for record in caplog.records]
    expected = "the model learns little from 49 updates, 19.6 passes over 20 samples; give steps=50 or more"
    assert told == ([expected] if little else [])


def test_the_passes_that_are_needed_are_counted(caplog):
    thermal = am.image("thermal", channels=1, low=233, high=393)(size=32, patch=16, codebook=8, latent=4)
    walls = [{"thermal": np.full((32, 32), 250.0)}] * 30
    fit(am.ModalitySet([thermal]), walls, steps=1, tokenizer_steps=1, dim=16, batch_size=4)
    assert "tokenizer_steps=150" in caplog.text and " steps=150" in caplog.text


@pytest.mark.parametrize("name", sorted(am.modalities()))
def test_every_modality_fits_beside_a_picture(name, sample_values):
    """As an input, and as an output where it is one; structured values survive their tokens."""
    settings = {"size": 32, "patch": 8, "codebook": 16, "latent": 4}
    picture = am.image("picture", channels=1)(**settings)
    values = sample_values(name)
    cls = am.registry().modality(name)
    small = shrunk(cls)
    samples = [{"picture": np.full((32, 32), k / len(values), np.float32), name: v} for k, v in enumerate(values)]
    model = fit(am.ModalitySet([picture, small]), samples, steps=2, tokenizer_steps=2, dim=32, batch_size=4)
    assert model.generate({name: values[-1]}, "picture", steps=1, seed=0)["picture"].shape == (32, 32)
    if name in model.modalities.targets:
        made = model.generate({"picture": samples[0]["picture"]}, name, seed=0)[name]
        assert type(small.accept(made)) is type(values[-1])
    if isinstance(small, StructuredModality) and not isinstance(small, am.TextModality):
        (back,) = small.detokenize(small.tokenize([values[-1]])[name])
        assert len(back) == len(values[-1])


def test_nothing_to_learn_from():
    with pytest.raises(ConfigError, match="at least one sample"):
        fit(am.ModalitySet(["caption"]), [])
