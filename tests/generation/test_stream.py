"""Generation step by step: what each step tells, what it decodes, and that leaving early leaves nothing behind."""

from __future__ import annotations

import gc
import itertools
import weakref

import attrs
import numpy as np
import pytest
import torch

from anymodal.config.tables import Table
from anymodal.errors import ConfigError, GenerationError, UnknownModality
from anymodal.generation import Sampler, SampleState, Target
from anymodal.generation.plan import chosen_targets
from anymodal.sampling import ANNEALS, SCHEMES, TOKEN_SCHEDULES, Anneal, Ordered, Sampling, TokenSchedule

CAR = {"caption": "a red car"}
HOW = {"temperature": 1.0, "seed": 4, "options": {"depth": {"steps": 5}}}


@pytest.mark.parametrize("scheme", ["roar", "maskgit", "mean"])
def test_the_last_step_of_a_grid_is_what_generate_returns(small_model, scheme):
    steps = list(small_model.stream(CAR, "depth", scheme=scheme, **HOW))
    out = small_model.generate(CAR, "depth", scheme=scheme, **HOW)
    assert np.array_equal(steps[-1].partial, out["depth"]) and np.array_equal(steps[-1].tokens, out.tokens["depth"])
    assert [(s.target, s.sample, s.step, s.total) for s in steps] == [
        ("depth", 0, k + 1, len(steps)) for k in range(len(steps))
    ]
    assert [s.done for s in steps] == [False] * (len(steps) - 1) + [True] and len(steps) == (
        1 if scheme == "mean" else 5
    )
    decided = np.concatenate([s.decided for s in steps])
    assert sorted(decided.tolist()) == list(range(16))
    for k, step in enumerate(steps):
        assert sorted(step.positions) == sorted(np.concatenate([s.decided for s in steps[: k + 1]]))
        assert step.partial.shape == (32, 32) and step.partial.dtype == np.float32


def test_several_seeds_are_made_side_by_side_and_each_has_the_outputs_that_it_has_alone(small_model):
    names = ["depth", "caption"]
    given = {"rgb": np.zeros((32, 32, 3), np.uint8)}
    stream = small_model.stream(given, names, steps=3, seed=[4, 9])
    samples = [step.sample for step in stream if step.target == "depth"]
    assert samples == [0, 1] * 3
    alone = [small_model.generate(given, names, steps=3, seed=seed) for seed in (4, 9)]
    for mine, out in zip(stream.outputs, alone, strict=True):
        assert mine.run == out.run and mine["caption"] == out["caption"]
        assert np.array_equal(mine.tokens["depth"], out.tokens["depth"])


def test_outputs_come_after_the_last_step(small_model):
    stream = small_model.stream(CAR, "depth", steps=3)
    next(stream)
    with pytest.raises(GenerationError, match="take the rest"):
        stream.outputs  # noqa: B018
    stream.close()
    assert not list(stream)
    with pytest.raises(GenerationError, match="take the rest"):
        stream.outputs  # noqa: B018
    with pytest.raises(GenerationError, match="0 seeds"):
        small_model.stream(CAR, "depth", seed=[])


def test_a_step_that_failed_leaves_no_outputs(small_model, monkeypatch):
    """An interrupt in the middle of a step, after which a loop over the rest ends at once."""
    stream, logits, calls = small_model.stream(CAR, ["depth", "normal"], steps=3), small_model.transformer.logits, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return logits(*arguments)

    monkeypatch.setattr(small_model.transformer, "logits", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert not list(stream)
    with pytest.raises(GenerationError, match="take the rest"):
        stream.outputs  # noqa: B018


def test_seeds_are_any_sequence_of_numbers(small_model):
    wanted = [out.tokens["depth"].tolist() for out in small_model.generate_batch([CAR] * 2, "depth", seed=[3, 4])]
    for seeds in (range(3, 5), np.array([3, 4])):
        stream = small_model.stream(CAR, "depth", seed=seeds)
        assert len(list(stream)) == 2 * len(list(small_model.stream(CAR, "depth")))
        for made in (stream.outputs, small_model.generate_batch([CAR] * 2, "depth", seed=seeds)):
            assert [out.tokens["depth"].tolist() for out in made] == wanted
    assert small_model.generate(CAR, "depth", seed=np.array(3)).tokens["depth"].tolist() == wanted[0]
    for wrong in ("34", [[3], [4, 5]], np.ones((2, 2), int)):
        with pytest.raises(ConfigError, match="a seed is a whole number"):
            small_model.generate_batch([CAR] * 2, "depth", seed=wrong)


def test_a_step_says_how_sure_its_value_is(small_model):
    *_, last = (stream := small_model.stream(CAR, "depth", scheme="mean"))
    assert last.made.how == "mean" and np.array_equal(last.made.uncertainty, stream.outputs[0].uncertainty["depth"])


def test_partial_texts_grow_to_the_one_that_generate_returns(small_model):
    steps = list(small_model.stream({"depth": np.ones((32, 32))}, "caption", temperature=1.5, seed=2))
    out = small_model.generate({"depth": np.ones((32, 32))}, "caption", temperature=1.5, seed=2)
    assert steps[-1].partial == out["caption"] and steps[-1].done and not steps[0].done
    assert {s.total for s in steps} == {24} and [s.step for s in steps] == list(range(1, len(steps) + 1))
    written = [s.tokens[:-1].tolist() for s in steps]
    assert all(longer[: len(shorter)] == shorter for shorter, longer in itertools.pairwise(written))
    assert len({len(w) for w in written}) > 1 and all(isinstance(s.partial, str) for s in steps)


def test_targets_follow_one_another_and_a_batch_numbers_its_samples(small_model, picture):
    names = ["depth", "color_palette"]
    targets = [s.target for s in small_model.stream(CAR, names, **HOW)]
    assert targets == sorted(targets, key=names.index) and set(targets) == set(names)
    seen, inputs = [], [CAR, {"rgb": picture}, {"caption": "a cup"}]
    outs = small_model.generate_batch(inputs, "depth", progress=seen.append, **HOW)
    assert [s.sample for s in seen] == [0, 2] * 5 + [1] * 5
    for step in seen:
        if step.done:
            assert np.allclose(step.partial, outs[step.sample]["depth"], atol=1e-4)


def test_nothing_is_decoded_unless_it_is_asked_for(small_model, monkeypatch):
    calls, depth = [], type(small_model.modalities["depth"])
    decode = depth.detokenize_stream
    monkeypatch.setattr(depth, "detokenize_stream", lambda self, *a: calls.append(1) or decode(self, *a))
    steps = list(small_model.stream(CAR, "depth", **HOW))
    assert not calls
    assert steps[2].partial is steps[2].partial and len(calls) == 1


def test_open_positions_of_a_preview_look_like_the_nearest_decided_one(small_model):
    step = next(small_model.stream(CAR, "depth", **HOW))
    space = small_model.modalities.layout["depth"].space
    cells = np.stack(np.divmod(np.arange(16), space.shape[1]), 1)
    near = np.abs(cells[:, None] - cells[step.positions][None]).sum(-1).argmin(1)
    expected = small_model.modalities["depth"].detokenize([step.tokens[near]])[0]
    assert len(step.tokens) < 16 and np.array_equal(step.partial, expected)


def test_leaving_early_leaves_nothing_running(small_model):
    torch.set_grad_enabled(True)
    stream = small_model.stream(CAR, "depth", **HOW)
    next(stream)
    assert not torch.is_inference_mode_enabled()
    stream.close()
    assert list(stream) == [] and not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None
    out = small_model.generate(CAR, "depth", **HOW)
    assert np.array_equal(out["depth"], small_model.generate(CAR, "depth", **HOW)["depth"])


def test_wrong_requests_are_refused_before_the_first_step(small_model):
    with pytest.raises(UnknownModality, match="did you mean 'depth'"):
        small_model.stream(CAR, "dpeth")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        small_model.stream(CAR, "depth", stesp=3)
    with pytest.raises(GenerationError, match=r"nothing to generate: name a target: .*depth"):
        small_model.stream(CAR, [])
    with pytest.raises(GenerationError, match="nothing to generate: all that the model can make is given"):
        chosen_targets(small_model.modalities, None, small_model.modalities.targets)


# Tables that third parties add to.


@attrs.frozen
class Halving(TokenSchedule):
    """Each step decides a share of what is left."""

    name: str = attrs.field(init=False, default="halving")
    share: float = attrs.field(converter=float)

    def counts(self, total: int, steps: int) -> list[int]:
        counts: list[int] = []
        for _ in range(steps - 1):
            counts.append(int((total - sum(counts)) * self.share))
        return [*counts, total - sum(counts)]


@attrs.frozen
class Cold(Anneal):
    """The last step takes the most likely ids."""

    name: str = attrs.field(init=False, default="cold")

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return [temperature] * (len(counts) - 1) + [0.0]


@attrs.frozen
class Reading(Ordered):
    """From the first position to the last."""

    name: str = attrs.field(init=False, default="reading")


@pytest.fixture
def added():
    added = [(TOKEN_SCHEDULES, Halving), (ANNEALS, Cold), (SCHEMES, Reading)]
    for table, cls in added:
        table.add(cls)
    yield
    for table, name in zip((TOKEN_SCHEDULES, ANNEALS, SCHEMES), ("halving", "cold", "reading"), strict=True):
        table.remove(name)


def test_third_parties_add_schedules_anneals_and_schemes(small_model, added):
    how = {"scheme": "reading", "schedule": "halving:0.5", "anneal": "cold", "steps": 4}
    steps = list(small_model.stream(CAR, "depth", **how))
    assert [s.decided.tolist() for s in steps] == [
        list(range(8)), list(range(8, 12)), list(range(12, 14)), [14, 15]
    ]  # fmt: skip
    sampling = Sampling(**how)
    assert [s.temperature for s in sampling.plan(16)] == [1.0, 1.0, 1.0, 0.0]
    assert str(sampling.schedule) == "halving:0.5" and sampling == Sampling(**how)
    with pytest.raises(ConfigError, match="'halving' is not of the form halving:SHARE"):
        Sampling(schedule="halving")
    with pytest.raises(GenerationError, match="use the scheme 'autoregressive'"):
        small_model.generate({"depth": np.ones((32, 32))}, "caption", options={"caption": {"scheme": "reading"}})


def test_a_schedule_that_forgets_tokens_is_refused(small_model, added):
    class Forgetful(TokenSchedule):
        def counts(self, total: int, steps: int) -> list[int]:
            return [1, 2]

    class Unsure(Anneal):
        def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
            return [float("nan")] * len(counts)

    with pytest.raises(ConfigError, match=r"the token schedule Forgetful gives \[1, 2\], which are not 16 tokens"):
        small_model.generate(CAR, "depth", schedule=Forgetful())
    with pytest.raises(ConfigError, match=r"the temperature anneal Unsure gives .*nan"):
        small_model.generate(CAR, "depth", anneal=Unsure())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheme": "rora"}, "there is no sampling scheme 'rora'; did you mean 'roar'"),
        ({"schedule": "cubic"}, "there is no token schedule 'cubic'.*choose from linear, cosine"),
        ({"schedule": 3}, "a token schedule is a name or a block with 'name', got 3"),
        ({"schedule": "linear:2"}, "'linear:2' is not of the form linear, with numbers"),
        ({"anneal": "onex:0.5:x"}, "'onex:0.5:x' is not of the form onex:MINIMUM:POWER"),
        ({"anneal": "onex:-1:1"}, "minimum must be at least 0, got -1"),
        ({"anneal": "down:nan"}, "minimum must be at least 0, got nan"),
        ({"anneal": "down:inf"}, "minimum must be at most 1000"),
    ],
)
def test_choices_that_do_not_exist_are_refused_where_they_are_written(options, words):
    with pytest.raises(ConfigError, match=words):
        Sampling(**options)


@pytest.mark.parametrize("text", ["constant", "linear", "onex:0.5:0.25", "down:2"])
def test_anneals_are_written_as_they_are_read(text):
    assert str(Sampling(anneal=text).anneal) == text
    assert attrs.evolve(Sampling(anneal=text), steps=2).anneal == Sampling(anneal=text).anneal


def test_two_providers_of_one_name_are_refused():
    table: Table[type] = Table("thing", {})
    table.register("one")(int)
    assert table.register("one")(int) is int
    with pytest.raises(ConfigError, match="there is a thing 'one' already"):
        table.register("one")(float)


def test_a_sampler_alone_counts_too(small_model):
    state = SampleState(small_model.modalities.layout, {"caption": np.array([40, 3])})
    steps = list(Sampler(small_model.transformer).run([state], [Target("depth", Sampling(steps=3))], [0]))
    assert [s.step for s in steps] == [1, 2, 3] and len(steps[-1].tokens) == 16
