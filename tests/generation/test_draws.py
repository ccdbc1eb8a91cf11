"""Several draws of one target: a mean, a choice, and how much they differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.special import entr

import anymodal as am
from anymodal.errors import GenerationError
from anymodal.families.codec import decoded
from anymodal.generation import GuidedModel, Pass, Sampler, SampleState, Target
from anymodal.generation.plan import make_plan
from anymodal.sampling import Sampling

HOW = {"temperature": 1.5, "steps": 3}
CAR = {"caption": "a red car"}


def draws(model: am.AnyModel, name: str, count: int, seed: int = 0, **changed: int) -> list[np.ndarray]:
    how = Sampling(scheme="roar", samples=count, **HOW | changed)
    state = SampleState(model.modalities.layout, model.modalities.condition(model.accept(CAR)))
    for _ in Sampler(model.transformer).run([state], [Target(name, how)], [seed]):
        pass
    assert np.array_equal(state.streams[name].values, state.streams[name].draws[0])
    return list(state.streams[name].draws)


@pytest.mark.parametrize("name", ["depth", "normal", "rgb"])
def test_the_spread_is_that_of_the_draws(small_model, name):
    ids, modality = draws(small_model, name, 4), small_model.modalities[name]
    out = small_model.generate(CAR, name, scheme="roar", guidance=1.0, samples=4, top_p=0.0, anneal="constant", **HOW)
    values = np.stack([np.atleast_3d(v).astype(np.float32) for v in modality.detokenize(ids)])
    assert np.allclose(out.uncertainty[name], values.std(0).mean(-1), rtol=1e-3, atol=1e-3)
    assert out.uncertainty[name].shape == out[name].shape[:2] and out.uncertainty[name].dtype == np.float32
    if modality.photographic:
        assert np.array_equal(out[name], values[0].astype(np.uint8)) and name not in out.schemes
    else:
        single = modality.detokenize(ids)[0]
        assert out.schemes[name] == "merge" and not np.allclose(out[name], single)
        assert np.array_equal(out.decoded(name), single)
    if name == "depth":
        assert values.min() - 1e-3 <= out[name].min() and out[name].max() <= values.max() + 1e-3
    assert len({tuple(each) for each in ids}) == 4


def test_classes_are_those_of_the_mean_probabilities(small_model):
    modality = small_model.modalities["semseg"]
    out = small_model.generate(CAR, "semseg", scheme="roar", samples=5, seed=3, **HOW)
    entropy = out.uncertainty["semseg"]
    assert out["semseg"].dtype == np.uint8 and entropy.shape == (32, 32) and (entropy >= 0).all()
    assert entropy.max() <= np.log(len(modality.known) + 1) + 1e-5
    one = small_model.generate(CAR, "semseg", scheme="roar", seed=3, **HOW)
    assert "semseg" not in one.uncertainty


def test_edges_are_those_of_the_mean_probability_and_as_sure_as_calibrated(small_model):
    ids, modality = draws(small_model, "canny_edge", 5), small_model.modalities["canny_edge"]
    value, entropy = modality.averaged(ids)
    edge = np.mean([(np.clip(each[0], -1, 1) + 1) / 2 for each in decoded(modality, ids, shape=(4, 4))], 0)
    assert value.dtype == np.uint8 and np.abs(value - 255 * edge).max() <= 0.51
    assert np.allclose(entropy, (entr(torch.tensor(edge)) + entr(torch.tensor(1 - edge))).numpy(), atol=1e-4)
    modality.calibration = {"classes": 2.0}
    try:
        again, less_sure = modality.averaged(ids)
    finally:
        modality.calibration = {}
    assert np.array_equal(again, value) and (less_sure >= entropy - 1e-6).all() and less_sure.max() <= np.log(2) + 1e-6


def test_the_likeliest_draw_comes_first(small_model):
    """What is decided in one pass is independent, so a draw is as likely as all of its ids together."""
    layout = small_model.modalities.layout
    ids = draws(small_model, "rgb", 6, seed=2, steps=1)
    state = SampleState(layout, small_model.modalities.condition(small_model.accept(CAR)))
    with torch.inference_mode():
        scores = GuidedModel(small_model.transformer).grid_logits([state], layout["rgb"], [np.arange(16)], [Pass()])
    likely = scores[0].log_softmax(-1)
    sums = [float(likely[np.arange(16), each].sum()) for each in ids]
    assert sums == sorted(sums, reverse=True) and sums[0] > sums[-1]


def test_all_draws_read_the_inputs_in_one_pass(small_model, monkeypatch):
    rows = []
    encode = type(small_model.transformer).encode
    monkeypatch.setattr(
        type(small_model.transformer), "encode", lambda self, x: rows.append(len(x.ids)) or encode(self, x)
    )
    small_model.generate(CAR, "depth", scheme="roar", steps=1, guidance=1.0, samples=6, temperature=1.0)
    assert rows == [1]


def test_draws_are_the_same_alone_as_in_a_batch_and_by_steps(small_model):
    how = {"scheme": "entropy:3", "samples": 3, "seed": 5, **HOW}
    inputs = [CAR, {"caption": "a blue cup on a table"}]
    together = small_model.generate_batch(inputs, ["depth", "rgb"], **how)
    alone = small_model.generate(inputs[0], ["depth", "rgb"], **how)
    for name in ("depth", "rgb"):
        assert np.array_equal(alone.tokens[name], together[0].tokens[name])
        assert np.allclose(alone[name], together[0][name], atol=1e-3)
    last = {step.target: step for step in small_model.stream(CAR, ["depth", "rgb"], **how)}
    assert all(step.done and np.array_equal(step.partial, alone[name]) for name, step in last.items())


def test_kept_places_of_several_draws_are_sure(small_model):
    value, mask = np.full((32, 32), 0.7, np.float32), np.zeros((32, 32), bool)
    mask[:16] = True
    out = small_model.generate({**CAR, "depth": value}, "depth", keep={"depth": mask}, scheme="roar", samples=4, **HOW)
    assert np.array_equal(out["depth"][:16], value[:16])


def test_uncertainty_is_shown_and_saved(small_model, tmp_path):
    options = {"depth": {"scheme": "mean"}, "normal": {"scheme": "roar", "samples": 3}}
    out = small_model.generate(CAR, ["depth", "normal", "color_palette"], options=options)
    assert set(out.uncertainty) == {"depth", "normal"}
    assert len(np.unique(out.uncertainty["depth"])) <= 16 and out.uncertainty["depth"].shape == (32, 32)
    plain = am.Outputs(out.modalities, out, out.inputs, out.tokens, out.schemes, out.run)
    assert out.show().width * out.show().height > plain.show().width * plain.show().height and plain != out
    out.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == out


def test_what_cannot_be_averaged_is_told(small_model):
    with pytest.raises(GenerationError, match="'color_palette' cannot merge several samples"):
        small_model.generate({"depth": np.ones((32, 32))}, "color_palette", options={"color_palette": {"samples": 2}})
    assert torch.is_grad_enabled()


def test_several_samples_of_a_mean_are_told_where_they_are_asked_for_of_that_target(small_model):
    """Asked for of all targets they are of those that draw, and what is written down of the mean is that it is one."""
    targets, options = ["depth", "normal"], {"depth": {"scheme": "mean"}}
    out = small_model.generate(CAR, targets, options=options, scheme="roar", steps=1, samples=3)
    assert [out.run.options[name]["samples"] for name in targets] == [1, 3]
    with pytest.raises(GenerationError, match=r"the scheme mean makes one value of 'depth'.* set a scheme that draws"):
        small_model.generate(CAR, "depth", options={"depth": {"scheme": "mean", "samples": 3}})
    with pytest.raises(GenerationError, match="the scheme mean makes one value of 'depth'"):
        small_model.generate(CAR, "depth", options={"depth": {"samples": 3}}, scheme="mean")


def test_a_scheme_that_draws_nothing_makes_one_value_of_a_model_that_draws_several():
    modalities = am.load("tiny", modalities=["rgb", "det"]).modalities
    asked = [{}, {"scheme": "beam:4"}, {"scheme": "beam:4", "samples": 3}, {"scheme": "autoregressive"}]
    plans = [make_plan(modalities, ["det"], ["rgb"], None, None, common) for common in asked]
    assert [target.sampling.samples for (target,) in plans] == [16, 1, 3, 16]
