"""Targets that do not see each other: what each would be alone, with what they share computed once."""

from __future__ import annotations

import numpy as np
import pytest

from anymodal.errors import GenerationError
from anymodal.generation import GuidedModel, Pass, Sampler, SampleState, Target
from anymodal.generation import encodings as encodings_module
from anymodal.model.steps import Steps
from anymodal.sampling import Sampling

CAR = {"caption": "a red car"}
HOW = {"temperature": 1.0, "guidance": 2.0, "top_p": 0.9}


@pytest.fixture
def encoded(small_model, monkeypatch) -> list[int]:
    """How many tokens each call of the encoder got, padding included."""
    counts: list[int] = []
    encode = type(small_model.transformer).encode
    monkeypatch.setattr(
        type(small_model.transformer), "encode", lambda self, x: counts.append(x.ids.numel()) or encode(self, x)
    )
    return counts


def test_each_target_is_what_it_is_alone(small_model, picture):
    """Of samples with different inputs, grids and texts of different lengths, guided and not, for the same seeds."""
    inputs = [CAR, {"rgb": picture}, {"caption": "a cup on a table"}]
    targets, options = ["depth", "color_palette", "normal"], {"normal": {"guidance": 1.0, "steps": 3}}
    together = small_model.generate_batch(inputs, targets, seed=5, chain=False, options=options, **HOW)
    for name in targets:
        own = {name: options.get(name, {})}
        by_itself = small_model.generate_batch(inputs, name, seed=5, options=own, **HOW)
        for out, alone in zip(together, by_itself, strict=True):
            assert np.array_equal(out.tokens[name], alone.tokens[name]), name
    chained = small_model.generate_batch(inputs, targets, seed=5, options=options, **HOW)
    assert not all(
        np.array_equal(a.tokens["normal"], b.tokens["normal"]) for a, b in zip(together, chained, strict=True)
    )
    assert not together[0].run.chain and chained[0].run.chain and list(together[0]) == targets


def test_texts_of_several_targets_are_written_side_by_side(small_model, picture, monkeypatch):
    """A step of the model serves all of them, also when one of them ends long before; each is what it is alone."""
    targets, calls, step = ["caption", "color_palette"], [], Steps.step
    how = {"options": {"caption": {"guidance": 2.0, "temperature": 3.0}}, "chain": False, "temperature": 2.0}
    pictures = [{"rgb": picture}, {"rgb": 255 - picture}]
    alone = [
        small_model.generate_batch(pictures, name, seed=3, **(how | {"options": {name: how["options"].get(name, {})}}))
        for name in targets
    ]
    monkeypatch.setattr(Steps, "step", lambda self, last: calls.append(list(map(len, last))) or step(self, last))
    together = small_model.generate_batch(pictures, targets, seed=3, **how)
    for k, name in enumerate(targets):
        assert [len(out.tokens[name]) for out in together] == [len(out.tokens[name]) for out in alone[k]]
        assert all(np.array_equal(a.tokens[name], b.tokens[name]) for a, b in zip(together, alone[k], strict=True))
    assert calls[0] == [2, 2] and len(calls) <= 24 and min(map(len, calls)) >= 1


def test_what_targets_see_alike_is_encoded_once(small_model, encoded):
    """The first pass over the inputs serves all targets and passes of guidance that see the same."""
    grids = ["depth", "normal", "semseg"]
    given = len(small_model.tokenize(small_model.accept(CAR))["caption"])
    small_model.generate(CAR, grids, chain=False, steps=1, guidance=2.0)
    assert encoded == [1, given]  # the hidden text is one token
    encoded.clear()
    small_model.generate(CAR, grids, chain=False, steps=2, guidance=2.0)
    assert encoded == [1, given] + [1 + 8, given + 8] * 3
    encoded.clear()
    small_model.generate(CAR, grids, steps=1, weights={"caption": 2.0})
    assert encoded == [1, given]  # each target is guided by the caption alone, whatever was made before it


def test_samples_of_which_the_same_is_seen_are_encoded_once(small_model, encoded):
    layout = small_model.modalities.layout
    known = SampleState(layout, {"caption": np.array([40, 41, 3])})
    other = SampleState(layout, {"caption": np.array([40, 42, 3])})
    asked, depth = [np.arange(16)] * 4, layout["depth"]
    logits = GuidedModel(small_model.transformer).grid_logits(
        [known, known.copy(), other, known.copy()], depth, asked, [Pass(0.0, hidden=frozenset({"caption"})), Pass(2.0)]
    )
    assert encoded == [1, 3 + 3]
    assert (logits[0] == logits[1]).all() and (logits[0] == logits[3]).all() and not (logits[0] == logits[2]).all()


def test_remembered_encodings_take_no_more_than_is_allowed(small_model, encoded, monkeypatch):
    layout, found = small_model.modalities.layout, []
    targets = [Target(name, Sampling(scheme="roar", steps=1)) for name in ("depth", "normal")]

    def made() -> list[np.ndarray]:
        encoded.clear()
        known = SampleState(layout, {"caption": np.array([40, 41, 3])})
        for _ in Sampler(small_model.transformer).run([known], targets, [0], chain=False):
            pass
        return [known.streams[target.stream].values for target in targets]

    found.append(made())
    assert encoded == [3]
    monkeypatch.setattr(encodings_module, "MOST", 100)
    found.append(made())
    assert encoded == [3, 3] and all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_values_of_a_target_are_decoded_in_one_call(small_model, picture, monkeypatch):
    calls, depth = [], type(small_model.modalities["depth"])
    detokenize = depth.detokenize_stream
    monkeypatch.setattr(
        depth,
        "detokenize_stream",
        lambda self, name, ids: calls.append((name, len(ids))) or detokenize(self, name, ids),
    )
    pictures = [{"rgb": picture}, {"rgb": 255 - picture}, {"rgb": picture // 2}]
    small_model.generate_batch(pictures, ["depth", "caption"], chain=False, steps=1)
    assert calls == [("depth", 3)]


def test_targets_are_streamed_apart_and_wrong_ones_are_refused_before(small_model):
    steps = list(small_model.stream(CAR, ["depth", "color_palette"], chain=False, seed=4, steps=2))
    out = small_model.generate(CAR, ["depth", "color_palette"], chain=False, seed=4, steps=2)
    last = {step.target: step for step in steps if step.done}
    assert all(np.array_equal(last[name].tokens, out.tokens[name]) for name in out)
    layout = small_model.modalities.layout
    plan = [Target("depth", Sampling(scheme="roar")), Target("caption", Sampling(scheme="roar"))]
    with pytest.raises(GenerationError, match="is a sequence"):
        list(Sampler(small_model.transformer).run([SampleState(layout, {})], plan, [0], chain=False))
