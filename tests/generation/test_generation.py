"""Sampling: schedules, draws, and a sampler that fills every position once and each sample as if alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import anymodal as am
from anymodal.config.validators import HEAVIEST
from anymodal.errors import AnymodalError, ConfigError, GenerationError, PluginError, SpaceError, UnknownModality
from anymodal.generation import Sampler, SampleState, StreamTokens, Target
from anymodal.generation.logits import combine, draw, filter_logits
from anymodal.sampling import Sampling
from anymodal.tokenizers.tokenizer import VQTokenizer


def token_schedule(kind: str, total: int, steps: int) -> list[int]:
    return [step.count for step in Sampling(schedule=kind, steps=steps).plan(total)]


def temperature_schedule(kind: str, temperature: float, counts: list[int]) -> list[float]:
    return Sampling(anneal=kind).anneal.temperatures(temperature, counts)


@given(st.sampled_from(["linear", "cosine"]), st.integers(1, 1024), st.integers(1, 120))
def test_schedules_cover_every_token_with_positive_steps(kind, total, steps):
    counts = token_schedule(kind, total, steps)
    assert sum(counts) == total and min(counts) > 0 and len(counts) <= steps


def test_published_schedules():
    assert token_schedule("linear", 196, 25) == [8] * 21 + [7] * 4
    assert token_schedule("cosine", 784, 8) == [30, 85, 127, 150, 150, 127, 85, 30]
    assert token_schedule("cosine", 196, 12) == [3, 10, 16, 20, 24, 25, 25, 24, 20, 16, 10, 3]
    linear = temperature_schedule("linear", 3.0, token_schedule("cosine", 784, 8))
    assert linear == pytest.approx([3.0, 2.8852, 2.55995, 2.07398, 1.5, 0.92602, 0.44005, 0.1148], abs=1e-4)
    onex = temperature_schedule("onex:0.5:0.5", 6.0, token_schedule("linear", 196, 49))
    assert onex[:6] == pytest.approx([5.888, 4.688, 3.967, 3.472, 3.103, 2.815], abs=1e-3) and onex[
        -1
    ] == pytest.approx(0.5)
    onex = temperature_schedule("onex:0.5:0.5", 3.0, token_schedule("linear", 196, 25))
    assert onex[:5] == pytest.approx([2.898, 2.322, 1.973, 1.731, 1.549], abs=1e-3)


@given(st.integers(0, 2**32), st.integers(0, 40), st.floats(0, 1), st.floats(0, 5))
def test_draws_stay_inside_the_filter(seed, top_k, top_p, temperature):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(9, 30, generator=g) * 3
    kept = filter_logits(logits, top_k, top_p).isfinite()
    assert kept.any(1).all() and (not top_k or (kept.sum(1) <= max(top_k, 1)).all())
    ids, confidence = draw(logits, torch.rand(9, generator=g), temperature, top_k, top_p)
    assert kept.gather(1, ids[:, None]).all() and ((confidence > 0) & (confidence <= 1 + 1e-6)).all()


def test_draws_follow_their_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(20000, 3)
    ids, _ = draw(logits, torch.rand(20000, generator=torch.Generator().manual_seed(0)), 1.0)
    assert (torch.bincount(ids) / 20000).tolist() == pytest.approx(logits[0].softmax(0).tolist(), abs=0.01)


def test_guidance_adds_weighted_differences():
    passes = torch.randn(3, 2, 4, 5)
    guided = combine(passes, torch.tensor([2.0, -0.5]))
    assert torch.allclose(guided, passes[0] + 2 * (passes[1] - passes[0]) - 0.5 * (passes[2] - passes[0]), atol=1e-6)


@pytest.mark.parametrize("scheme", ["maskgit", "roar"])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_every_position_is_filled_exactly_once(small_model, scheme, guidance):
    layout = small_model.modalities.layout
    known = SampleState(
        layout, {"caption": np.array([40, 41, 3]), "depth": StreamTokens(np.array([5, 6]), np.array([3, 9]))}
    )
    how = Sampling(scheme=scheme, steps=5, temperature=1.0, guidance=guidance)
    sizes = [2]
    for _ in Sampler(small_model.transformer).run([known], [Target("depth", how)], [0]):
        sizes.append(len(known.streams["depth"].positions))
        assert len(set(known.streams["depth"].positions.tolist())) == sizes[-1]
    assert sizes == sorted(set(sizes)) and known.streams["depth"].positions.tolist() == list(range(16))
    assert known.streams["depth"].values[[3, 9]].tolist() == [5, 6]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_mean_is_decoded_from_all_ids_and_known_positions_keep_theirs(small_model, temperature):
    layout, depth = small_model.modalities.layout, small_model.modalities["depth"]
    known = SampleState(
        layout, {"caption": np.array([40, 3]), "depth": StreamTokens(np.array([5, 6]), np.array([3, 9]))}
    )
    how = Sampling(scheme="mean", temperature=temperature)
    (step,) = Sampler(small_model.transformer).run([known], [Target("depth", how)], [0])
    assert (step.target, step.step, step.total, step.done) == ("depth", 1, 1, True)
    belief, ids = known.streams["depth"].probabilities, known.streams["depth"].values
    assert belief.shape == (16, layout["depth"].space.size) and np.allclose(belief.sum(1), 1, atol=1e-5)
    assert ids.tolist() == belief.argmax(1).tolist() and ids[[3, 9]].tolist() == [5, 6] and belief[3, 5] == 1
    sharp, mean = depth.detokenize([ids])[0], depth.expect([belief])[0]
    assert np.allclose(sharp, mean, atol=1e-4) == (temperature == 0)


def test_means_have_values_of_the_natural_kind_and_sequences_have_none(small_model, picture):
    given = [{"rgb": picture}, {"caption": "a red car"}]
    outs = small_model.generate_batch(given, ["depth", "normal", "semseg"], scheme="mean", temperature=1.0)
    alone = small_model.generate(given[1], ["depth", "normal", "semseg"], scheme="mean", temperature=1.0)
    assert all(np.allclose(alone[name], outs[1][name], atol=1e-4) for name in alone)
    assert outs[0]["depth"].shape == outs[0]["semseg"].shape == (32, 32) and outs[0]["semseg"].dtype == np.uint8
    with pytest.raises(GenerationError, match="use the scheme 'autoregressive'"):
        small_model.generate(given[0], "caption", options={"caption": {"scheme": "mean"}})
    with pytest.raises(GenerationError, match="no codes to take a mean of"):
        small_model.modalities["caption"].expect([np.ones((1, 3))])


def test_a_batch_gives_each_sample_what_it_gets_alone(small_model, picture):
    inputs = [
        {"rgb": picture},
        {"caption": "a red car"},
        {"rgb": picture[:, ::-1], "caption": "a person next to a dog on a road"},
    ]
    common = {"steps": 4, "temperature": 1.0, "guidance": 2.0}
    together = small_model.generate_batch(inputs, ["depth", "color_palette"], seed=5, **common)
    for k, sample in enumerate(inputs):
        alone = small_model.generate(sample, ["depth", "color_palette"], seed=5 + k, **common)
        for name in alone.tokens:
            assert np.array_equal(alone.tokens[name], together[k].tokens[name]), (k, name)


@pytest.mark.parametrize("how", [{"steps": 4, "temperature": 1.0}, {"scheme": "mean", "temperature": 1.0}])
def test_values_of_a_batch_are_decoded_together_and_are_those_of_single_samples(small_model, monkeypatch, how):
    inputs = [{"caption": text} for text in ("a red car", "a blue cup on a table", "a person")]
    targets = ["rgb", "depth", "semseg", "color_palette"]
    alone = [small_model.generate(sample, targets, seed=k, **how) for k, sample in enumerate(inputs)]
    sizes, reconstruct = [], VQTokenizer._reconstruct

    def counted(self, codes, *arguments, **options):
        sizes.append(len(codes))
        return reconstruct(self, codes, *arguments, **options)

    monkeypatch.setattr(VQTokenizer, "_reconstruct", counted)
    for single, out in zip(alone, small_model.generate_batch(inputs, targets, **how), strict=True):
        assert all(np.array_equal(out[name], single[name]) for name in ("semseg", "color_palette"))
        assert np.allclose(out["depth"], single["depth"], atol=1e-4)
        assert np.abs(out["rgb"].astype(int) - single["rgb"]).max() <= 1
    assert sizes == [3, 3, 3]


def test_a_plugin_that_decodes_too_few_is_named(small_model, monkeypatch):
    depth = type(small_model.modalities["depth"])
    monkeypatch.setattr(depth, "detokenize_stream", lambda self, stream, tokens: [np.zeros((32, 32))])
    with pytest.raises(PluginError, match=r"'depth' .* failed in detokenize .* returns 1 value of 2"):
        small_model.generate_batch([{"caption": "a cup"}, {"caption": "a car"}], "depth", steps=1)


def test_seeds_reproduce_and_differ(small_model):
    run = lambda seed: small_model.generate({"caption": "a cup"}, "rgb", seed=seed, temperature=1.0).tokens["rgb"]  # noqa: E731
    assert np.array_equal(run(1), run(1)) and not np.array_equal(run(1), run(2))


def test_global_random_state_is_left_alone(small_model):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    small_model.generate({"caption": "a cup"}, ["depth", "color_palette"])
    assert torch.equal(before, torch.get_rng_state())


def test_targets_are_chained_in_the_given_order(small_model, picture):
    first = small_model.generate({"rgb": picture}, ["depth", "normal"], temperature=1.0, guidance=1.0)
    given_depth = small_model.generate({"rgb": picture}, ["normal"], temperature=0.0)
    chained = small_model.generate({"rgb": picture}, ["depth", "normal"], temperature=0.0)
    assert list(first) == ["depth", "normal"]
    assert not np.array_equal(given_depth.tokens["normal"], chained.tokens["normal"])


def test_weights_guide_by_several_inputs(small_model, picture):
    inputs = {"rgb": picture, "caption": "a red car"}
    both = small_model.generate(inputs, "depth", weights={"rgb": 1.0, "caption": 2.5}, temperature=0.0)
    only = small_model.generate(inputs, "depth", weights={"rgb": 1.0, "caption": 0.0}, temperature=0.0)
    assert both["depth"].shape == (32, 32) and not np.array_equal(both.tokens["depth"], only.tokens["depth"])


def test_everything_is_generated_by_default_in_natural_types(small_model, picture, tmp_path):
    out = small_model.generate({"rgb": picture}, temperature=1.0)
    assert list(out) == ["depth", "normal", "semseg", "canny_edge", "caption", "color_palette"]
    assert out["depth"].dtype == np.float32 and out["depth"].shape == (32, 32)
    assert isinstance(out["caption"], str) and out["color_palette"].dtype == np.uint8
    names = {p.name for p in out.save(tmp_path / "out")}
    assert names == {
        "depth.png",
        "normal.png",
        "semseg.png",
        "canny_edge.png",
        "caption.txt",
        "color_palette.json",
        "depth.view.png",
        "semseg.view.png",
        "grid.png",
        "rgb.png",
        "tokens.safetensors",
        "values.safetensors",
        "run.json",
    }
    again = small_model.detokenize(out.tokens)
    assert np.array_equal(again["depth"], out["depth"]) and again["caption"] == out["caption"]


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "error", "words"),
    [
        ({"rbg": 0}, "depth", {}, UnknownModality, "did you mean 'rgb'"),
        ({"caption": "x"}, "dpeth", {}, UnknownModality, "did you mean 'depth'"),
        ({"caption": "x"}, "caption", {}, GenerationError, "both an input and a target"),
        ({"caption": "x"}, ["rgb", "rgb"], {}, GenerationError, "twice"),
        ({"caption": "x"}, "rgb", {"step": 3}, ConfigError, "did you mean 'steps'"),
        ({"caption": "x"}, "rgb", {"steps": 0}, ConfigError, "at least 1"),
        ({"caption": "x"}, "rgb", {"options": {"depth": {}}}, UnknownModality, "not a target"),
        ({"caption": "x"}, "rgb", {"weights": {"depth": 1.0}}, GenerationError, "not an input"),
        ({"caption": "x"}, "rgb", {"options": {"rgb": {"scheme": "autoregressive"}}}, GenerationError, "grid"),
        ({"caption": "x"}, "rgb", {"anneal": "exponential"}, ConfigError, "onex"),
        ({"rgb": np.zeros((5, 5, 5))}, "depth", {}, AnymodalError, r"rgb takes numbers of shape \(H, W, 3\)"),
        ({"caption": 5}, "rgb", {}, AnymodalError, "caption takes text"),
    ],
)
def test_wrong_requests_say_what_is_wrong(small_model, inputs, targets, options, error, words):
    with pytest.raises(error, match=words):
        small_model.generate(inputs, targets, **options)


def test_tokens_outside_their_space_are_refused(small_model):
    layout = small_model.modalities.layout
    for values, positions in (([32], [0]), ([-1], [0]), ([1], [16]), ([1, 2], [0])):
        with pytest.raises(SpaceError, match="'depth'"):
            SampleState(layout, {"depth": StreamTokens(np.array(values), np.array(positions))})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"guidance": float("nan")}, r"guidance must be a number from -1e\+15 to 1e\+15, got nan"),
        ({"guidance": float("inf")}, "guidance must be a number from"),
        ({"guidance": -1e308}, r"guidance must be a number from .*, got -1e\+308"),
        ({"guidance": "1e308"}, "guidance must be a number from"),
        ({"guidance": "rising:1e308"}, r"scale must be in \[-1"),
        ({"guidance": 10**400}, "fits 64 bits"),
        ({"temperature": float("inf")}, "temperature must be at most"),
        ({"anneal": "down:nan"}, "minimum must be"),
        ({"anneal": "downx:1"}, "downx"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"weights": {"rgb": float("nan")}}, "weight of 'rgb' must be a number"),
        ({"weights": {"rgb": 1e308}}, r"weight of 'rgb' must be a number .* to 1e\+15, got 1e\+308"),
        ({"weights": {"rgb": "x"}}, "weight of 'rgb' must be a number"),
        ({"seed": None}, "a seed is a whole number, got None"),
        ({"seed": 1.5}, "a seed is a whole number"),
        ({"options": {"depth": None}}, "options of 'depth' are a dict"),
        ({"targets": 5}, "targets are a name or a list"),
        ({"targets": [None]}, "targets are a name or a list"),
        ({"inputs": None}, "inputs are a dict"),
    ],
)
def test_arguments_that_cannot_be_are_one_error(small_model, picture, arguments, words):
    request = {"inputs": {"rgb": picture}, "targets": "depth", **arguments}
    with pytest.raises(am.AnymodalError, match=words):
        small_model.generate(request.pop("inputs"), request.pop("targets"), **request)


@pytest.mark.parametrize("guidance", [HEAVIEST, -HEAVIEST, f"normalized:{HEAVIEST}", f"rising:{HEAVIEST}"])
def test_the_strongest_guidance_overflows_nothing(small_model, picture, guidance):
    how = {"scheme": "roar", "temperature": 1.0, "steps": 2}
    assert np.isfinite(small_model.generate({"rgb": picture}, "depth", guidance=guidance, **how)["depth"]).all()


def test_scores_that_are_not_finite_are_told(small_model, picture, monkeypatch):
    monkeypatch.setattr("anymodal.generation.guidance.combine", lambda branches, weights: branches[0] * float("nan"))
    with pytest.raises(am.GenerationError, match="scores are not finite"):
        small_model.generate({"rgb": picture}, "depth", guidance=2.0, scheme="roar", temperature=1.0)


def test_the_whole_seed_counts(small_model):
    def made(seed):
        how = {"scheme": "roar", "temperature": 1.0}
        return small_model.generate({"caption": "a cup"}, "depth", seed=seed, **how).tokens["depth"].tolist()

    assert made(7) == made(np.int64(7))
    assert len({tuple(made(seed)) for seed in (7, 7 + 2**32, 7 + 2**70, -7)}) == 4


@pytest.mark.parametrize("device", ["x", "cuda:99", 5.5])
def test_devices_that_are_not_there_are_one_error(small_model, device):
    with pytest.raises(am.ConfigError, match="no device"):
        small_model.to(device)


@pytest.mark.parametrize("name", ["x" * 300, "~nobody9/x", None, 5])
def test_names_of_no_model_are_one_error(name):
    with pytest.raises(am.CheckpointError):
        am.load(name)
