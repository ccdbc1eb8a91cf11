"""Beams: texts at least as likely as the greedy one, the same alone as in a batch, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.generation import GuidedModel, Pass, Sampler, SampleState, Target, beams
from anymodal.model.steps import Steps, Texts, steps_of
from anymodal.sampling import Beam, Sampling


def likelihood(model, inputs: dict[str, np.ndarray], ids: list[int]) -> float:
    """The log probability of a text, token by token."""
    guided_model = GuidedModel(model.transformer)
    known = SampleState(model.modalities.layout, inputs)
    contexts = guided_model.encode([known], [Pass()], model.modalities.layout["caption"])
    steps = Steps(model.transformer, [Texts(contexts, "caption")])
    last, total = model.modalities.layout["caption"].space.sentinel(1), 0.0
    for token in ids:
        scores = steps.step([[last]])[0][0, 0].log_softmax(-1)
        total, last = total + float(scores[token]), token
    return total


def test_beams_find_texts_at_least_as_likely_as_the_greedy_one(small_model):
    image = {"depth": np.full(16, 3)}
    found = {}
    with torch.inference_mode():
        for scheme in ("autoregressive", "beam:1:0", "beam:6:0"):
            mine = SampleState(small_model.modalities.layout, image)
            how = Sampling(scheme=scheme, temperature=0.0)
            for _ in Sampler(small_model.transformer).run([mine], [Target("caption", how)], [0]):
                pass
            found[scheme] = mine.streams["caption"].values.tolist()
        assert found["beam:1:0"] == found["autoregressive"]
        scores = {s: likelihood(small_model, image, ids) for s, ids in found.items()}
    assert scores["beam:6:0"] >= scores["autoregressive"] - 1e-4


def test_beams_are_the_same_alone_as_in_a_batch(small_model):
    inputs = [{"depth": np.full((32, 32), v, np.float32)} for v in (0.1, 0.5, 0.9)]
    together = small_model.generate_batch(inputs, "caption", scheme=Beam(width=3))
    alone = [small_model.generate(each, "caption", scheme="beam:3") for each in inputs]
    assert [o["caption"] for o in together] == [o["caption"] for o in alone]
    steps = list(small_model.stream(inputs[0], "caption", scheme="beam:3"))
    assert steps[-1].done and steps[-1].partial == alone[0]["caption"]


@pytest.mark.parametrize("views", [1, 3])
def test_of_many_samples_few_are_written_by_beams_at_once(small_model, picture, monkeypatch, views):
    """Each beam of each view has all that is read of a sample, which of many samples is more than there is memory."""
    inputs = [{"rgb": np.roll(picture, 3 * k, 0)} for k in range(7)]
    how = {"scheme": "beam:3", "views": views}
    wanted = [small_model.generate(each, "caption", **how)["caption"] for each in inputs]
    written, told = [], []

    def keep(model, texts):
        written.append(sum(len(context.tokens) * each.times for each in texts for context in each.contexts))
        return steps_of(model, texts)

    monkeypatch.setattr(beams, "steps_of", keep)
    monkeypatch.setattr(beams, "TOGETHER", 20)
    made = small_model.generate_batch(inputs, "caption", progress=lambda step: told.append(step.sample), **how)
    assert [each["caption"] for each in made] == wanted and set(told) == set(range(7))
    assert max(written) <= 20 and sum(written) == 7 * 3 * views
