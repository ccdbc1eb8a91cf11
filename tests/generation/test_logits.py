"""Filters without sorting everything keep exactly what a full sort keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anymodal.errors import GenerationError
from anymodal.generation.logits import draw, filter_logits


def by_sorting(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """The definition: the best `top_k`, then ids in order until those before have more than `top_p`."""
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1]), -1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if 0 < top_p < 1:
        ordered, order = torch.sort(logits, dim=-1, descending=True, stable=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        removed = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(removed, -torch.inf)
    return logits


@given(
    st.integers(0, 2**31),
    st.integers(1, 300),
    st.just(0.0) | st.floats(1e-3, 8),  # in between, rounding decides which of nearly equal ids reach the share
    st.integers(0, 320),
    st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.95, 1.0]),
    st.booleans(),
)
def test_the_same_ids_are_kept_and_drawn_as_by_a_full_sort(seed, size, deviation, top_k, top_p, ties):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, size, generator=rng) * deviation
    logits, uniform = logits.round() if ties else logits, torch.rand(5, generator=rng)
    expected = by_sorting(logits, top_k, top_p)
    assert torch.equal(filter_logits(logits, top_k, top_p), expected)
    ids, confidence = draw(logits, uniform, 0.7, top_k, top_p)
    wanted, sure = draw(expected.masked_fill(expected == -torch.inf, -1e30), uniform, 0.7)
    assert torch.equal(ids, wanted) and torch.allclose(confidence, sure, atol=1e-6)


def test_logits_too_close_for_their_probabilities_to_differ_are_told_apart():
    logits = torch.tensor([[-2e-40, 3e-40], [1.0, 1.0]])
    assert filter_logits(logits, 0, 0.1).isfinite().tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("deviation", [0.0, 1.0, 4.0])
def test_flat_and_peaked_scores_of_a_published_size(deviation):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8192, generator=rng) * deviation
    assert torch.equal(filter_logits(logits, 0, 0.8), by_sorting(logits, 0, 0.8))
    assert torch.equal(filter_logits(logits, 50, 0.8), by_sorting(logits, 50, 0.8))


@pytest.mark.parametrize("wrong", [torch.inf, -torch.inf, torch.nan])
def test_a_single_score_that_is_not_finite_is_refused(wrong):
    logits = torch.zeros(2, 9)
    logits[1, 4] = wrong
    with pytest.raises(GenerationError, match="not finite"):
        draw(logits, torch.zeros(2), 1.0, 0, 0.8)
    assert draw(logits[:0], torch.zeros(0), 1.0, 3, 0.8)[0].shape == (0,)
