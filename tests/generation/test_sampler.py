"""The sampler's finer points: schedules, replayed choices, guidance, texts with holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.runs import RecordedText

import anymodal as am
from anymodal.errors import ConfigError
from anymodal.generation import (
    GuidedModel,
    Pass,
    Sampler,
    SampleRng,
    SampleState,
    StreamTokens,
    Target,
    guidance_passes,
)
from anymodal.generation.encodings import alike
from anymodal.generation.infill import Text
from anymodal.generation.logits import draw
from anymodal.model import ModelConfig, Transformer
from anymodal.sampling import Sampling, TokenSchedule
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout

GREEDY = Sampling(scheme="maskgit", steps=3, temperature=0.0)
WRITE = Sampling(scheme="autoregressive", temperature=1.0)


def run(model: am.AnyModel, samples: list[SampleState], plan: list[Target], draws: list[Any]) -> list[SampleState]:
    for _ in Sampler(model.transformer).run(samples, plan, draws):
        pass
    return samples


# Schedules.


@given(
    st.sampled_from(["constant", "linear", "onex:0.5:0.5", "down:0.1"]),
    st.floats(0.5, 10),
    st.integers(0, 400),
    st.integers(1, 60),
)
def test_every_step_has_a_temperature_between_the_first_and_none(anneal, temperature, total, steps):
    plan = Sampling(scheme="roar", steps=steps, temperature=temperature, anneal=anneal).plan(total)
    temperatures = [step.temperature for step in plan]
    assert sum(step.count for step in plan) == total
    assert all(0 <= each <= temperature + 1e-9 for each in temperatures)
    assert temperatures == sorted(temperatures, reverse=True)


def test_schedules_that_are_misspelt_show_the_form():
    for kind in ("down", "down:x", "onex:1"):
        with pytest.raises(ConfigError, match=r"onex:MINIMUM:POWER|down:MINIMUM"):
            Sampling(anneal=kind)
    with pytest.raises(ConfigError, match="choose from constant, linear, onex, down"):
        Sampling(anneal="up:1")


# SampleRng.


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=8), st.integers(0, 2**31))
def test_positions_with_their_own_temperatures_are_drawn_as_if_alone(temperatures, seed):
    g = torch.Generator().manual_seed(seed)
    logits, uniform = torch.randn(len(temperatures), 20, generator=g) * 3, torch.rand(len(temperatures), generator=g)
    together = draw(logits, uniform, torch.tensor(temperatures), 5, 0.9)
    for k, temperature in enumerate(temperatures):
        alone = draw(logits[k : k + 1], uniform[k : k + 1], temperature, 5, 0.9)
        assert alone[0][0] == together[0][k] and torch.allclose(alone[1][0], together[1][k])


def test_positions_are_ranked_by_confidence_at_temperature_zero_too():
    logits = torch.tensor([[0.0, 1.0], [0.0, 5.0], [3.0, 0.0]])
    ids, confidence = draw(logits, torch.zeros(3), 0.0)
    assert ids.tolist() == [1, 1, 0]
    assert SampleRng(0).choose(ids.numpy(), confidence.numpy(), 2).tolist() == [1, 2]
    assert SampleRng(0).choose(ids.numpy(), np.ones(3), 2).tolist() == [0, 1]


def test_branches_differ_and_repeat():
    numbers = lambda rngs: [rng.uniform(3).tolist() for rng in rngs]  # noqa: E731
    first, again = numbers(SampleRng(4).branch(3)), numbers(SampleRng(4).branch(3))
    assert first == again and len({tuple(n) for n in first}) == 3
    alone = SampleRng(4)
    assert alone.branch(1) == [alone]


class Prescribed(SampleRng):
    """Fills a grid from its last position on."""

    def __init__(self) -> None:
        super().__init__(0)
        self.seen: list[int] = []

    def order(self, positions: np.ndarray) -> np.ndarray:
        return positions[::-1]

    def choose(self, ids: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
        self.seen.append(len(ids))
        return np.arange(len(ids))[-count:]


class FiveThenRest(TokenSchedule):
    def counts(self, total: int, steps: int) -> list[int]:
        return [5, total - 5]


@pytest.mark.parametrize("scheme", ["maskgit", "roar"])
def test_choices_may_be_prescribed(small_model, scheme):
    layout, choices = small_model.modalities.layout, Prescribed()
    known = SampleState(layout, {"caption": np.array([40, 3])})
    target = Target("depth", Sampling(scheme=scheme, schedule=FiveThenRest()))
    sampler = Sampler(small_model.transformer)
    sizes = []
    for _ in sampler.run([known], [target], [choices]):
        sizes.append(known.streams["depth"].positions.tolist())
    assert sizes == [list(range(11, 16)), list(range(16))]
    assert choices.seen == ([16, 11] if scheme == "maskgit" else [])


# Guidance.


def test_guided_logits_are_those_of_single_passes_added_by_weight(small_model):
    layout, guided_model = small_model.modalities.layout, GuidedModel(small_model.transformer)
    depth = layout["depth"]
    tokens = {"caption": np.array([40, 41, 3]), "normal": np.arange(16) % 30}
    known, asked = [SampleState(layout, tokens)], [np.arange(16)]
    target = Target("depth", GREEDY, weights={"caption": 2.0, "normal": -0.5})
    logits = lambda passes: guided_model.grid_logits(known, depth, asked, passes)  # noqa: E731
    with torch.inference_mode():
        given = frozenset(tokens)
        none, caption, normal = (
            logits([Pass(absent=given - kept)]) for kept in (frozenset[str](), {"caption"}, {"normal"})
        )
        guided = logits(guidance_passes(known, target))
        assert torch.allclose(guided, none + 2 * (caption - none) - 0.5 * (normal - none), atol=1e-4)
        scaled = logits(guidance_passes(known, Target("depth", Sampling(guidance=3.0))))
        hidden, seen = logits([Pass(hidden=given)]), logits([Pass()])
        assert torch.allclose(scaled, hidden + 3 * (seen - hidden), atol=1e-4)


def test_guidance_may_leave_conditions_alone(small_model):
    layout = small_model.modalities.layout
    known = [SampleState(layout, {"caption": np.array([40, 3]), "normal": np.zeros(16, np.int64)})]
    how = Sampling(guidance=2.0)
    assert guidance_passes(known, Target("depth", how, conditions=["normal", "rgb"]))[0].hidden == {"normal"}
    assert guidance_passes(known, Target("depth", how, conditions=[])) == [Pass()]


def test_a_sample_without_inputs_reads_nothing_from_its_neighbors(small_model):
    """Padding of a batch is no input: the same logits whether it is long or short."""
    layout, guided_model = small_model.modalities.layout, GuidedModel(small_model.transformer)
    empty, full = SampleState(layout, {}), SampleState(layout, {"normal": np.arange(16) % 30})
    with torch.inference_mode():
        alone = guided_model.grid_logits([empty], layout["depth"], [np.arange(16)], [Pass()])
        beside = guided_model.grid_logits([empty, full], layout["depth"], [np.arange(16)] * 2, [Pass()])
    assert torch.allclose(alone[0], beside[0], atol=1e-5)
    assert not torch.allclose(beside[0], beside[1], atol=1e-3)


@pytest.mark.parametrize("separate", [True, False])
def test_a_sample_with_fewer_open_places_sees_no_padding_of_its_neighbors(seven, separate):
    """Also where targets see those of other streams: what fills up a batch is none."""
    torch.manual_seed(1)
    config = ModelConfig(dim=32, encoder_depth=1, decoder_depth=2, heads=2, separate_targets=separate)
    layout, model = seven.layout, GuidedModel(Transformer(config, seven.layout).eval())
    few, many = np.array([1, 5, 6]), np.arange(16)
    states = [SampleState(layout, {"normal": np.arange(16) % 30}) for _ in range(2)]
    with torch.inference_mode():
        together = model.grid_logits(states, layout["depth"], [few, many], [Pass()])
        alone = model.grid_logits(states[:1], layout["depth"], [few], [Pass()])
    assert torch.allclose(together[0, :3], alone[0], atol=1e-5)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=9))
def test_samples_are_encoded_with_others_of_about_their_length(lengths):
    groups = alike(lengths)
    assert sorted(k for group in groups for k in group) == list(range(len(lengths)))
    assert all(min(lengths[k] for k in group) >= 0.75 * max(lengths[k] for k in group) for group in groups)


def test_no_pass_and_no_sample_is_padded_to_a_much_longer_one(small_model, monkeypatch):
    """The tokens that are encoded are those of each pass and sample alone, and so are the scores."""
    layout, net = small_model.modalities.layout, small_model.transformer
    model, depth, encode, counts = GuidedModel(net), layout["depth"], type(net).encode, []
    monkeypatch.setattr(type(net), "encode", lambda self, x: counts.append(x.ids.numel()) or encode(self, x))
    short, other = (SampleState(layout, {"caption": np.array([word, 3])}) for word in (40, 41))
    long = SampleState(layout, {"normal": np.arange(16) % 30})
    passes = [Pass(0.0, hidden=frozenset({"caption", "normal"})), Pass(2.0)]
    with torch.inference_mode():
        together = model.grid_logits([short, long, other], depth, [np.arange(16)] * 3, passes)
        # A hidden text is one token, and nothing at all is one; both short ones are the same when they are hidden.
        assert sum(counts) == (1 + 1) + (2 + 16 + 2)
        for row, state in enumerate([short, long, other]):
            alone = GuidedModel(net).grid_logits([state], depth, [np.arange(16)], passes)
            assert torch.allclose(together[row], alone[0], atol=1e-4)


def test_a_grid_that_is_no_input_is_made_from_what_was_encoded_once(monkeypatch):
    """No step changes what such a target is made from."""
    grids = [Stream("a", "a", TokenSpace.grid(16, 2, 3)), Stream("b", "b", TokenSpace.grid(16, 2, 3), input=False)]
    layout, counts = Layout(grids), []
    net = Transformer(ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2), layout).eval()
    monkeypatch.setattr(Transformer, "encode", lambda self, x, own=net.encode: counts.append(len(x.ids)) or own(x))
    state = SampleState(layout, {"a": np.arange(6)})
    list(Sampler(net).run([state], [Target("b", Sampling(steps=6))], [1]))
    assert counts == [1] and len(state.streams["b"].values) == 6


# Texts.


def test_a_text_is_written_into_its_holes(vocabulary):
    space = vocabulary.space(24)
    one, two, three, end = (*(space.sentinel(k) for k in (1, 2, 3)), space.end)
    text = Text(np.array([one, 60, 61, two, 62, end]), space)
    for token in (50, 51, two, 52, three, 99):
        text.add(token)
    assert text.done and text.value(24).tolist() == [50, 51, 60, 61, 52, 62, end]
    assert text.value(4).tolist() == [50, 51, 60, end]
    whole = Text(np.array([one]), space)
    for token in (50, 51, end, 52):
        whole.add(token)
    assert whole.value(24).tolist() == [50, 51, end]
    marked = RecordedText(np.array([one]), space, until=7)
    for token in (50, end, two, 51, 7, 52):
        marked.add(token)
    assert marked.done and marked.value(24).tolist() == [50, end]


def test_words_around_a_hole_stay(small_model, vocabulary):
    layout, space = small_model.modalities.layout, vocabulary.space(24)
    prompt = np.array([40, 41, space.sentinel(1), 42, space.end])
    (known,) = run(small_model, [SampleState(layout, {"caption": prompt})], [Target("caption", WRITE)], [3])
    ids = known.streams["caption"].values.tolist()
    assert ids[:2] == [40, 41] and ids[-1] == space.end and (ids[-2] == 42 or len(ids) == 24)
    assert not space.is_sentinel(np.array(ids)).any()


def test_texts_of_a_batch_end_when_they_end_and_leave_the_rest_as_alone(small_model):
    """Texts of different lengths, then a grid: nobody's random numbers depend on how long others write."""
    layout = small_model.modalities.layout
    inputs = [{"depth": np.full(16, k)} for k in (1, 9, 17, 30)]
    hot = Sampling(scheme="autoregressive", temperature=3.0)
    plan = [Target("caption", hot), Target("normal", Sampling(scheme="roar", steps=3, temperature=1.0))]
    together = run(small_model, [SampleState(layout, i) for i in inputs], plan, [7, 8, 9, 10])
    lengths = {len(sample.streams["caption"].values) for sample in together}
    for k, sample in enumerate(together):
        (alone,) = run(small_model, [SampleState(layout, inputs[k])], plan, [7 + k])
        for name in ("caption", "normal"):
            assert np.array_equal(alone.streams[name].values, sample.streams[name].values), (k, name)
    assert len(lengths) > 1


def test_known_parts_of_a_copy_are_its_own(small_model):
    layout = small_model.modalities.layout
    known = SampleState(layout, {"depth": StreamTokens(np.array([5]), np.array([3]))})
    copy = known.copy()
    copy.extend("depth", np.array([6]), np.array([4]))
    assert len(known.streams["depth"].values) == 1 and len(copy.streams["depth"].values) == 2
