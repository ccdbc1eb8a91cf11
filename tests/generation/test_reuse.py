"""Grids whose inputs are encoded anew every few steps alone: what is kept, and what is added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.errors import ConfigError
from anymodal.generation import GuidedModel, Pass, Sampler, SampleState, StreamTokens, Target
from anymodal.sampling import Sampling

PASSES = [Pass(0.0, hidden=frozenset({"caption", "normal"})), Pass(2.0)]
TEXT, MORE = np.array([40, 41, 3]), np.arange(16) % 30


def some(layout, count: int = 0, **tokens) -> SampleState:
    """A sample of which the first positions of depth are known."""
    state = SampleState(layout, tokens or {"caption": TEXT})
    if count:
        state.extend("depth", np.arange(count) + 2, np.arange(count))
    return state


def reusing(model, refresh: int) -> GuidedModel:
    return GuidedModel(model.transformer).of(Target("depth", Sampling(refresh=refresh)))


def logits(model: GuidedModel, states, positions=None) -> torch.Tensor:
    asked = [np.arange(8, 16) if positions is None else positions for _ in states]
    with torch.inference_mode():
        return model.grid_logits(states, model.layout["depth"], asked, PASSES)


def test_what_is_read_at_once_is_what_the_plain_path_gives(small_model):
    layout = small_model.modalities.layout
    states = [some(layout, 3), some(layout, caption=TEXT, normal=MORE), SampleState(layout, {})]
    assert torch.allclose(
        logits(reusing(small_model, 4), states), logits(GuidedModel(small_model.transformer), states), atol=1e-4
    )


@pytest.mark.parametrize("refresh", [2, 3])
def test_a_refresh_reads_what_the_plain_path_does_and_steps_between_are_near_it(small_model, refresh):
    model, plain, known = (
        reusing(small_model, refresh),
        GuidedModel(small_model.transformer),
        some(small_model.modalities.layout, 1),
    )
    for step in range(2 * refresh):
        kept, whole = logits(model, [known]), logits(plain, [known])
        assert torch.allclose(kept, whole, atol=1e-4) == (step % refresh == 0), step
        assert (kept - whole).abs().max() < 0.5 * whole.abs().max()
        known.extend("depth", np.array([step + 5]), np.array([step + 1]))


def test_a_sample_is_the_same_alone_as_beside_others_that_end_earlier(small_model):
    """Also where guidance hides much of one and nothing of another, and a grid is partly known before."""
    layout = small_model.modalities.layout
    whole = [some(layout), some(layout, 13, caption=TEXT, normal=MORE), some(layout, 5)]
    for scheme in ("roar", "maskgit"):
        how = Sampling(scheme=scheme, steps=7, guidance=2.0, refresh=3)
        together = [state.copy() for state in whole]
        list(Sampler(small_model.transformer).run(together, [Target("depth", how)], [1, 2, 3]))
        for number, state in enumerate(whole):
            alone = state.copy()
            list(Sampler(small_model.transformer).run([alone], [Target("depth", how)], [number + 1]))
            assert np.array_equal(alone.streams["depth"].values, together[number].streams["depth"].values)


def test_tokens_that_are_open_again_are_not_read(small_model):
    """What is added changes nothing that was encoded before, so hiding it again leaves what was there."""
    layout = small_model.modalities.layout
    model, known = reusing(small_model, 9), [some(layout, 2), some(layout, 2)]
    before = logits(model, known)
    known[0].extend("depth", np.array([7, 8]), np.array([5, 6]))
    assert not torch.allclose(logits(model, known)[0], before[0], atol=1e-4)
    known[0].put("depth", StreamTokens(np.arange(2) + 2, np.arange(2)))
    assert torch.allclose(logits(model, known), before, atol=1e-4)
    known[1].put("depth", StreamTokens(np.array([2, 9]), np.arange(2)))
    assert not torch.allclose(logits(model, known)[1], before[1], atol=1e-4)


def test_steps_between_encode_only_what_was_decided(small_model, monkeypatch):
    counts, kind = [], type(small_model.transformer)
    embed = kind.embed_inputs
    monkeypatch.setattr(kind, "embed_inputs", lambda self, x: counts.append(x.ids.numel()) or embed(self, x))
    known = some(small_model.modalities.layout)
    how = Sampling(scheme="roar", steps=4, guidance=1.0, refresh=3)
    list(Sampler(small_model.transformer).run([known], [Target("depth", how)], [0]))
    assert counts == [3, 4, 4, 3 + 12]


def test_refresh_is_a_number_of_steps():
    with pytest.raises(ConfigError, match="refresh"):
        Sampling(refresh=0)
