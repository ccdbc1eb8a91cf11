"""Cross-entropies that keep no scores: the numbers and gradients of the plain way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from anymodal.model import heads as module
from anymodal.model.heads import Head, cross_entropies

ROWS = (slice(2, 9), slice(9, 12), slice(2, 9))  # two heads share rows, and some rows have none


def made(seed, counts):
    random = torch.Generator().manual_seed(seed)
    stream = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    stream = stream[torch.randperm(len(stream), generator=random)].view(1, -1)
    states, table = torch.randn(1, stream.numel(), 6, generator=random), torch.randn(14, 6, generator=random)
    found = []
    for k, n in enumerate(counts):
        size = ROWS[k].stop - ROWS[k].start
        if n:
            found.append(Head(ROWS[k], stream == k, torch.randint(size, (n,), generator=random)))
    return states.requires_grad_(), table.requires_grad_(), found, torch.randn(len(found), generator=random)


def plain(states, table, found):
    return torch.stack([F.cross_entropy(F.linear(states[h.chosen], table[h.rows]).float(), h.labels) for h in found])


@given(st.integers(0, 1000), st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)), st.integers(1, 100))
def test_losses_and_gradients_are_those_of_the_plain_way(seed, counts, scores):
    states, table, found, weights = made(seed, counts)
    expected = plain(states, table, found)
    gradients = torch.autograd.grad((expected * weights).sum(), (states, table))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCORES", scores)  # from one row at a time to all
        losses = cross_entropies(states, table, found)
        ours = torch.autograd.grad((losses * weights).sum(), (states, table))
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(ours, gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("learns", [0, 1])
def test_what_is_frozen_has_no_gradient(learns):
    states, table, found, weights = made(0, (4, 3, 2))
    both = [states, table]
    both[1 - learns].requires_grad_(False)
    (cross_entropies(states, table, found) * weights).sum().backward()
    expected = torch.autograd.grad((plain(states, table, found) * weights).sum(), both[learns])[0]
    assert both[1 - learns].grad is None
    torch.testing.assert_close(both[learns].grad, expected, atol=1e-5, rtol=1e-4)


def test_autocast_is_near_and_gradients_are_of_the_weights_type():
    states, table, found, weights = made(0, (4, 3, 2))
    expected = plain(states, table, found)
    gradients = torch.autograd.grad((expected * weights).sum(), (states, table))
    with torch.autocast("cpu", torch.bfloat16):
        losses = cross_entropies(states, table, found)
    (losses * weights).sum().backward()
    torch.testing.assert_close(losses, expected, atol=0.05, rtol=0.05)
    for parameter, gradient in zip((states, table), gradients, strict=True):
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, gradient, atol=0.05, rtol=0.05)


def test_no_scores_are_kept_and_none_exist_all_at_once():
    states, table, found, _ = made(0, (9, 3, 2))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.shape) or x, lambda x: x):
        cross_entropies(states, table, found)
    assert kept == [states.shape]


def test_it_is_differentiated_once_or_says_so():
    states, table, found, _ = made(0, (4, 3, 2))
    loss = cross_entropies(states, table, found).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        loss.backward()


def test_nothing_is_made_for_an_evaluation():
    states, table, found, _ = made(0, (4, 3, 2))
    with torch.no_grad():
        losses = cross_entropies(states, table, found)
    assert not losses.requires_grad
    torch.testing.assert_close(losses, plain(states, table, found).detach())
