"""Schemes of grids: each decides every position, never touches a known one, and does alone what it does in a batch."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anymodal.errors import ConfigError, GenerationError
from anymodal.generation import GuidedModel, Pass, SampleRng, SampleState, StreamTokens, Target, TargetRun
from anymodal.generation.grids import GridDecoder, entropy_and_margin
from anymodal.generation.guidance import guided, needed_passes
from anymodal.generation.logits import draw, filter_logits
from anymodal.generation.means import MeanCode
from anymodal.sampling import (
    GUIDANCES,
    SCHEMES,
    Change,
    Corrector,
    EntropyBound,
    GridScheme,
    Halton,
    Predicted,
    Remask,
    Sampling,
    plain_options,
)
from anymodal.sampling.schemes.base import GridState, Step
from anymodal.sampling.schemes.halton import halton_ranks
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout

SIZE = 7
GRIDS = [
    "roar", "maskgit", "halton", "halton:0", "entropy", "entropy:0:margin", "entropy:100:confidence",
    "remask:cap:0.5", "remask:conf:0.3", "remask:rescale:0.9", "remask:loop:0.2", "remask:loop:0.5:0.5:0.9",
    "corrector", "corrector:3:0.5:random", "corrector:1:1",
]  # fmt: skip


class Guess(GuidedModel):
    """Scores that depend on the sample and on what is known of it, without a network."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.seen: list[list[list[int]]] = []

    def grid_logits(self, states: Any, stream: Stream, requested: Any, passes: Any, shares: Any = ()) -> Tensor:
        self.seen.append([each.tolist() for each in requested])
        most = max(map(len, requested))
        logits = torch.zeros(len(states), most, SIZE)
        for row, (state, positions) in enumerate(zip(states, requested, strict=True)):
            tokens = state.streams.get(stream.name)
            known = 0 if tokens is None else int((tokens.values * (tokens.positions + 1)).sum())
            g = torch.Generator().manual_seed(known)
            table = torch.randn(stream.space.length, SIZE, generator=g) * 3
            logits[row, : len(positions)] = table[torch.from_numpy(positions)]
        return logits


def decoded(scheme: str, layout: Layout, known: list[dict[int, int]], how: dict[str, Any], seeds: list[int]) -> Any:
    stream = layout["map"]
    states = [
        SampleState(layout, {"map": StreamTokens(np.array([*k.values()], int), np.array([*k], int))}) for k in known
    ]
    target, model = Target("map", Sampling(scheme=scheme, **how)), Guess(layout)
    run = TargetRun(model, states, target, stream, [Pass()], [SampleRng(seed) for seed in seeds])
    return states, list(GridDecoder().run(run)), model


@given(
    scheme=st.sampled_from(GRIDS),
    rows=st.integers(1, 5),
    columns=st.integers(1, 6),
    steps=st.integers(1, 9),
    schedule=st.sampled_from(["linear", "cosine"]),
    temperature=st.sampled_from([0.0, 1.0]),
    batch=st.lists(st.integers(0, 2**30), min_size=1, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_every_position_is_decided_and_known_ones_stay(scheme, rows, columns, steps, schedule, temperature, batch):
    layout = Layout([Stream("map", "map", TokenSpace.grid(SIZE, rows, columns))])
    total, how = rows * columns, {"steps": steps, "schedule": schedule, "temperature": temperature}
    known = []
    for seed in batch:
        kept = np.flatnonzero(np.random.default_rng(seed).random(total) < 0.3)
        known.append(dict(zip(kept.tolist(), (kept % SIZE).tolist(), strict=True)))
    states, told, _ = decoded(scheme, layout, known, how, batch)
    for b, (state, mine) in enumerate(zip(states, known, strict=True)):
        tokens = state.streams["map"]
        assert tokens.positions.tolist() == list(range(total)) and (tokens.values < SIZE).all()
        assert [tokens.values[p] for p in mine] == [*mine.values()]
        own = [step for step in told if step.sample == b]
        decisions = np.concatenate([step.decided for step in own]) if own else np.zeros(0)
        assert set(decisions.tolist()) == set(range(total)) - set(mine)
        if not scheme.startswith(("remask", "corrector")):
            assert len(decisions) == total - len(mine)
        assert len(own) <= steps and [step.done for step in own] == [False] * (len(own) - 1) + [True] * bool(own)
        (alone,), again, _ = decoded(scheme, layout, [mine], how, [batch[b]])
        assert np.array_equal(alone.streams["map"].values, tokens.values)
        assert [a.decided.tolist() for a in again] == [o.decided.tolist() for o in own]


def grid(rows: int, columns: int) -> Layout:
    return Layout([Stream("map", "map", TokenSpace.grid(SIZE, rows, columns))])


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (14, 14), (3, 17), (64, 1)])
def test_positions_of_a_halton_order_cover_the_grid_evenly(shape):
    ranks = halton_ranks(shape)
    assert sorted(ranks.tolist()) == list(range(shape[0] * shape[1]))
    if min(shape) >= 8:
        first = np.argsort(ranks)[: len(ranks) // 4]
        quarters = [
            ((first // shape[1] < shape[0] // 2) * 2 + (first % shape[1] < shape[1] // 2) == q).sum() for q in range(4)
        ]
        assert max(quarters) - min(quarters) <= 3


def test_the_first_points_are_those_of_the_sequence():
    """Bases 2 and 3: (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), on a grid of 4 rows and 9 columns."""
    assert np.argsort(halton_ranks((4, 9)))[:3].tolist() == [2 * 9 + 3, 1 * 9 + 6, 3 * 9 + 1]


def test_an_order_is_rolled_by_the_seed_alone():
    orders = [Halton().order((6, 6), np.arange(36), SampleRng(seed)).tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    fixed = [Halton(rolled=False).order((6, 6), np.arange(36), SampleRng(seed)).tolist() for seed in (1, 2)]
    assert fixed[0] == fixed[1] == np.argsort(halton_ranks((6, 6))).tolist()


def predicted(entropy: list[float]) -> Predicted:
    n = len(entropy)
    return Predicted(np.arange(n), np.zeros(n, int), np.exp(-np.array(entropy)), np.array(entropy), np.zeros(n))


def state(left: int, steps: int) -> GridState:
    return GridState((left, 1), np.arange(left), [Step(1, 1.0)] * steps)


def test_the_entropies_of_a_step_stay_within_the_bound():
    """0.1 + 0.2 + 0.4 + 0.8 less the largest: 0, 0.1, 0.3, 0.7."""
    said = predicted([0.8, 0.1, 0.4, 0.2])
    for bound, count in ((0.0, 1), (0.1, 2), (0.29, 2), (0.3, 3), (0.7, 4)):
        kept = EntropyBound(bound=bound).step(state(4, 4), said, SampleRng(0)).kept
        assert kept.tolist() == [1, 3, 2, 0][:count]
    assert len(EntropyBound(bound=0).step(state(4, 1), said, SampleRng(0)).kept) == 4  # the last step


def test_sure_models_need_fewer_steps():
    layout = grid(4, 4)
    _, told, _ = decoded("entropy:1000", layout, [{}], {"steps": 8}, [0])
    assert len(told) == 1 and told[0].done and told[0].total == 8


@given(st.sampled_from(["cap", "conf", "rescale", "loop"]), st.integers(1, 200), st.integers(1, 30), st.floats(0, 1))
def test_no_step_opens_more_than_the_schedule_has_open(variant, total, steps, rate):
    plan = Remask(variant=variant, rate=rate).plan(total, Sampling(steps=steps), SampleRng(total))
    done = 0
    for step in plan:
        assert step.count <= total - done and 0 <= step.reopen <= done and step.count > 0
        done += step.count - step.reopen
    assert done == total and plan[-1].reopen == 0 and len(plan) <= steps


def test_remasking_prefers_what_was_least_sure():
    grid_state = GridState((8, 1), np.arange(8), [Step(4, 1.0), Step(2, 1.0, 1)])
    grid_state.apply(Change(np.arange(4)), np.arange(4), np.array([0.01, 0.99, 0.99, 0.99]))
    said = Predicted(np.array([4, 5]), np.zeros(2, int), np.ones(2))
    opened = [Remask(variant="conf").step(grid_state, said, SampleRng(k)).reopened.tolist() for k in range(300)]
    shares = np.bincount(np.array(opened)[:, 0], minlength=8) / 300
    weights = np.exp(-np.array([0.01, 0.99, 0.99, 0.99]))
    assert np.allclose(shares[:4], weights / weights.sum(), atol=0.08) and not shares[4:].any()


def test_correctors_predict_the_least_sure_anew():
    _, told, model = decoded("corrector:2:0.25:halton", grid(4, 4), [{}], {"steps": 6, "temperature": 0.0}, [3])
    assert [len(step.decided) for step in told] == [4, 4, 4, 4, 4, 4]
    least = Corrector(part=0.5).step(
        GridState((4, 1), np.arange(4), [Step(4, 1.0, 2)]),
        Predicted(np.arange(4), np.zeros(4, int), np.ones(4), np.ones(4), np.array([0.9, 0.1, 0.5, 0.2])),
        SampleRng(0),
    )
    assert least.reopened.tolist() == [1, 3] and len(model.seen) == 6


def test_entropies_and_margins_are_those_of_the_distribution():
    entropy, margin = entropy_and_margin(torch.tensor([[0.0, 0.0], [100.0, 0.0], [1.0, 0.0]]))
    likely = torch.tensor([1.0, 0.0]).softmax(0)
    assert entropy.tolist() == pytest.approx([np.log(2), 0.0, float(-(likely * likely.log()).sum())], abs=1e-6)
    assert margin.tolist() == pytest.approx([0.0, 1.0, float(likely[0] - likely[1])], abs=1e-6)


# What a third party may get wrong.


class Wrong(GridScheme):
    change = Change(np.array([0]))

    def step(self, state, predicted, choices):
        return self.change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(np.array([0, 0])), "keeps what was not predicted, or one id twice"),
        (Change(np.array([9])), "keeps what was not predicted"),
        (Change(np.array([0]), np.array([3])), "opens positions again that it did not decide"),
        (Change(np.array([], int)), "leaves 4 positions open after its last step"),
    ],
)
def test_schemes_that_would_touch_known_positions_are_refused(change, words):
    scheme = Wrong()
    type(scheme).change = change
    with pytest.raises(ConfigError, match=words):
        decoded(scheme, grid(2, 2), [{}], {"steps": 2}, [0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheme": "remask:lop"}, r"Remask.variant must be one of cap, rescale, conf, loop, got 'lop'; did you mean"),
        ({"scheme": "remask:loop:2"}, r"Remask.rate must be in \[0, 1\], got 2"),
        ({"scheme": "entropy:-1"}, "EntropyBound.bound must be at least 0"),
        ({"scheme": "entropy:x"}, "'entropy:x' is not of the form entropy:BOUND:BY"),
        ({"scheme": "roar:1"}, "'roar:1' is not of the form roar"),
        ({"scheme": {"name": "remask", "vriant": "loop"}}, "has no 'vriant'; did you mean 'variant'"),
        ({"guidance": "rising"}, "'rising' is not of the form rising:SCALE:POWER"),
        ({"guidance": "risng:4"}, "there is no guidance 'risng'; did you mean 'rising'"),
        ({"guidance": "interval:4:0.5:2"}, r"Interval.high must be in \[0, 1\]"),
        ({"guidance": "interval:4:0.8:0.2"}, "from LOW to a HIGH above it, got 0.8 and 0.2"),
        ({"min_p": 2}, "min_p must be at most 1"),
    ],
)
def test_options_are_checked_where_they_are_written(options, words):
    with pytest.raises(ConfigError, match=words):
        Sampling(**options)


@pytest.mark.parametrize("text", ["remask:loop", "entropy:0.5", "corrector:2:0.25:random", "beam:8", "halton", "beam"])
def test_schemes_are_written_as_they_are_read(text):
    how = Sampling(scheme=text)
    assert str(how.scheme) == text and Sampling(**plain_options(how)) == how
    assert Sampling(scheme=Remask(variant="loop")).scheme == Sampling(scheme="remask:loop").scheme


# Filters.


@given(st.integers(0, 2**32), st.integers(0, 12), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_min_p_keeps_what_is_near_the_likeliest(seed, top_k, top_p, min_p):
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(seed)) * 2
    kept = filter_logits(logits, 0, 0.0, min_p).isfinite()
    likely = logits.double().softmax(-1)
    ratio = likely / likely.amax(-1, keepdim=True)
    clear = (ratio - min_p).abs() > 1e-6
    assert torch.equal(kept[clear], (ratio >= min_p)[clear])
    ids, _ = draw(logits, torch.rand(5, generator=torch.Generator().manual_seed(seed)), 1.0, top_k, top_p, min_p)
    assert filter_logits(logits, top_k, top_p, min_p).isfinite().gather(1, ids[:, None]).all()


# Guidance.


@given(st.sampled_from(["2", "interval:3", "interval:3:0:0.5", "rising:4", "rising:4:2"]), st.floats(0, 1))
def test_a_guidance_has_a_scale_for_every_share(text, share):
    guidance = Sampling(guidance=text).guidance
    assert str(guidance) == text and 1 <= guidance.scale_at(share) <= 4
    assert Sampling(guidance=guidance) == Sampling(guidance=text)


def test_guidance_changes_with_what_is_decided():
    assert [Sampling(guidance="rising:5").guidance.scale_at(s) for s in (0, 0.5, 1)] == [1, 3, 5]
    assert [Sampling(guidance="interval:5:0.25:0.75").guidance.scale_at(s) for s in (0, 0.25, 0.74, 0.75)] == [
        1,
        5,
        5,
        1,
    ]


def test_samples_are_guided_by_their_own_share():
    scores, passes = torch.randn(2, 3, 4, 5), [Pass(0.0), Pass("rising:3")]
    together = guided(scores, passes, [0.0, 0.5, 1.0])
    for b, scale in enumerate((1.0, 2.0, 3.0)):
        assert torch.allclose(together[b], scores[0, b] + scale * (scores[1, b] - scores[0, b]), atol=1e-6)


def test_no_pass_is_made_for_a_scale_of_one():
    passes = [Pass(0.0), Pass("interval:3:0.5:1")]
    assert needed_passes(passes, [0.0, 0.4]) == passes[1:]
    assert needed_passes(passes, [0.0, 0.6]) == passes


def test_normalized_scores_spread_no_wider_than_unguided_ones():
    scores = torch.randn(2, 1, 6, 50)
    plain, wide = scores[1], guided(scores, [Pass(0.0), Pass(8.0)], [0.0])
    narrow = guided(scores, [Pass(0.0), Pass("normalized:8:1")], [0.0])
    assert torch.allclose(narrow.std(-1), plain.std(-1), rtol=1e-4) and (wide.std(-1) > 2 * plain.std(-1)).all()
    assert torch.equal(narrow.argmax(-1), wide.argmax(-1))
    between = guided(scores, [Pass(0.0), Pass("normalized:8:0.7")], [0.0])
    assert torch.allclose(between, 0.7 * narrow + 0.3 * wide, atol=1e-4)


@pytest.mark.parametrize("guidance", ["interval:3:0.4:1", "rising:3", "normalized:3"])
def test_guidance_is_the_same_alone_as_in_a_batch(small_model, guidance):
    how = {"temperature": 1.0, "guidance": guidance, "options": {"depth": {"scheme": "entropy:2", "steps": 4}}}
    inputs = [{"caption": "a red car"}, {"caption": "a blue cup on a table"}]
    together = small_model.generate_batch(inputs, "depth", seed=3, **how)
    for k, sample in enumerate(inputs):
        assert np.array_equal(
            small_model.generate(sample, "depth", seed=3 + k, **how).tokens["depth"], together[k].tokens["depth"]
        )


def test_each_input_has_a_guidance_of_its_own(small_model, picture):
    inputs = {"rgb": picture, "caption": "a red car"}
    how = {"steps": 4, "temperature": 1.0, "seed": 2}
    plain = small_model.generate(inputs, "depth", weights={"rgb": 1.0, "caption": 2.0}, **how)
    same = small_model.generate(inputs, "depth", weights={"rgb": "1", "caption": "interval:2:0:1"}, **how)
    other = small_model.generate(inputs, "depth", weights={"rgb": 1.0, "caption": "rising:9"}, **how)
    assert np.array_equal(plain.tokens["depth"], same.tokens["depth"])
    assert not np.array_equal(plain.tokens["depth"], other.tokens["depth"])
    assert other.run.weights == {"rgb": 1.0, "caption": "rising:9"}
    with pytest.raises(GenerationError, match="which is for all inputs at once"):
        small_model.generate(inputs, "depth", weights={"rgb": "normalized:2"})


def test_weights_and_a_guidance_are_not_asked_for_together(small_model, picture):
    """What a checkpoint says gives way to weights, and is not told as if it had guided; a guidance of 1 is none."""
    inputs, weights, how = {"rgb": picture, "caption": "a red car"}, {"caption": 2.0}, {"steps": 2, "seed": 2}
    usual = small_model.generate(inputs, "depth", weights=weights, **how)
    assert small_model.generate(inputs, "depth", **how).run.options["depth"]["guidance"] == 2
    assert usual.run.options["depth"]["guidance"] == 1
    none = small_model.generate(inputs, "depth", weights=weights, options={"depth": {"guidance": 1}}, **how)
    assert none == usual
    with pytest.raises(GenerationError, match="guidance is 3, and weights guide in its place: leave out one of them"):
        small_model.generate(inputs, "depth", weights=weights, guidance=3, **how)
    with pytest.raises(GenerationError, match="guidance of 'depth' is rising:4, and weights guide in its place"):
        small_model.generate(inputs, "depth", weights=weights, options={"depth": {"guidance": "rising:4"}}, **how)


def test_third_parties_add_guidances():
    assert set(GUIDANCES) >= {"constant", "interval", "rising", "normalized"} and "halton" in set(SCHEMES)


def test_a_mean_takes_memory_for_its_tokens_and_not_for_pairs_of_ids():
    """A table of 16384 x 16384 numbers for each sample took a gigabyte."""
    layout, how = Layout([Stream("map", "map", TokenSpace.grid(4096, 2, 2))]), Target("map", Sampling(scheme="mean"))
    known = SampleState(layout, {"map": StreamTokens(np.array([7]), np.array([2]))})

    class Even(GuidedModel):
        def grid_logits(self, states: Any, stream: Stream, requested: Any, passes: Any, shares: Any = ()) -> Tensor:
            return torch.zeros(len(states), max(map(len, requested)), 4096)

    tracemalloc.start()
    list(MeanCode().run(TargetRun(Even.__new__(Even), [known], how, layout["map"], [Pass()], [SampleRng(0)])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = np.asarray(known.streams["map"].probabilities)
    assert peak < 100 * 4 * 4096 and found[2].argmax() == 7 and np.allclose(found.sum(1), 1) and found[2].max() == 1
