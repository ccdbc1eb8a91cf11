"""Our own codebooks: which id a latent gets, how codes learn, and how many of them are in use."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import anymodal as am
from anymodal.tokenizers.quantizers.base import count_ids
from anymodal.tokenizers.quantizers.cosine import CosineCodebook
from anymodal.tokenizers.quantizers.product import ProductQuantizer
from anymodal.tokenizers.quantizers.usage import perplexity, usage


class TestCosineCodebook:
    def test_nearest_in_angle_is_returned_as_stored(self) -> None:
        codebook = CosineCodebook(2, 2).eval()
        codebook.codes.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.1]]))
        result = codebook(torch.tensor([[[3.0, 1.0], [0.1, 5.0]]]))
        assert result.ids.tolist() == [[0, 1]]
        assert torch.equal(result.codes[0], codebook.codes)

    def test_moving_averages(self) -> None:
        codebook = CosineCodebook(3, 2, dead_share=0.0, from_data=False).train()
        codes = torch.tensor([[0.6, 0.0], [0.0, 0.7], [-0.8, 0.0]])
        codebook.codes.copy_(codes)
        codebook.cluster_size.fill_(2.0)
        codebook(torch.tensor([[[2.0, 0.0], [3.0, 3.0 - 1e-6], [0.0, 0.5]]]))
        mean = F.normalize(torch.tensor([1 + math.sqrt(0.5), math.sqrt(0.5)]), dim=0)
        expected = [0.99 * codes[0] + 0.01 * mean, torch.tensor([0.0, 0.703]), torch.tensor([-0.802, 0.0])]
        torch.testing.assert_close(codebook.codes, torch.stack(expected))
        torch.testing.assert_close(codebook.cluster_size, torch.tensor([2.0, 1.99, 1.98]))

    def test_dead_codes_restart_at_latents(self) -> None:
        torch.manual_seed(0)
        codebook = CosineCodebook(16, 4, from_data=False).train()
        codebook.codes.copy_(-torch.ones(16, 4))
        z = torch.rand(4, 16, 4)
        codebook(z)
        latents = F.normalize(z.flatten(0, 1), dim=-1)
        assert ((codebook.codes @ latents.T).amax(1)[1:] > 1 - 1e-6).all()
        for _ in range(200):
            codebook(z)
        assert usage(count_ids(codebook.eval()(z).ids, 16, 1).numpy()) > 0.9

    def test_a_code_restarts_below_its_share_alone(self) -> None:
        codebook = CosineCodebook(4, 2, dead_share=0.5, from_data=False).train()
        codebook.codes.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
        codebook.cluster_size.copy_(torch.tensor([2.0, 2.0, 1.1, 0.9]))  # an even share of 8 latents is 2
        codebook(torch.tensor([[[1.0, 0.0], [0.0, 1.0]] * 4]))
        assert codebook.codes[:3].tolist() == [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
        assert codebook.codes[3].tolist() in ([1.0, 0.0], [0.0, 1.0])

    def test_the_loss_is_how_far_latents_are_from_their_codes(self) -> None:
        codebook = CosineCodebook(2, 2, commitment=0.25, from_data=False).eval()
        codebook.codes.copy_(torch.eye(2))
        assert codebook(torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])).loss.item() == pytest.approx(0.25 * (1 + 4) / 4)

    def test_first_batch_places_the_codes(self) -> None:
        torch.manual_seed(0)
        directions = F.normalize(torch.randn(8, 6), dim=-1)
        z = (directions.repeat(20, 1) * torch.rand(160, 1).add(0.5))[None]
        codebook = CosineCodebook(8, 6).train()
        codebook(z)
        assert bool(codebook.initialised)
        assert len(codebook(z).ids.unique()) >= 5

    def test_gradient_passes_straight_through(self) -> None:
        codebook = CosineCodebook(4, 3).train()
        z = torch.randn(2, 5, 3, requires_grad=True)
        codebook(z).codes.sum().backward()
        assert torch.equal(z.grad, torch.ones_like(z))

    def test_non_finite_latents_teach_nothing(self) -> None:
        codebook = CosineCodebook(4, 3, from_data=False).train()
        before = codebook.codes.clone()
        codebook(torch.full((1, 5, 3), math.nan))
        assert torch.equal(codebook.codes, before) and codebook.cluster_size.eq(0).all()

    def test_autocast_changes_nothing(self) -> None:
        codebook, z = CosineCodebook(64, 8).eval(), torch.randn(2, 50, 8)
        plain = codebook(z)
        with torch.autocast("cpu", torch.bfloat16):
            cast = codebook(z)
        assert torch.equal(plain.ids, cast.ids) and torch.equal(plain.codes, cast.codes)


class TestProductQuantizer:
    def test_lookup_is_what_forward_returns(self) -> None:
        quantizer = ProductQuantizer(16, 12, 3).eval()
        result = quantizer(torch.randn(4, 2, 12))
        assert result.ids.shape == (4, 2, 3) and result.loss == 0
        assert torch.equal(quantizer.lookup(result.ids), result.codes)

    def test_training_draws_in_proportion_and_learns(self) -> None:
        """Scores are products over the root of the width: here 4 * log(3) / 2 over 2, so three to one."""
        torch.manual_seed(0)
        quantizer = ProductQuantizer(2, 4, 1).train()
        with torch.no_grad():
            quantizer.to_k.copy_(torch.eye(4)[None])
            quantizer.codes.copy_(torch.tensor([[[0.0] * 4, [math.log(3.0) / 2] * 4]]))
        result = quantizer(torch.ones(4000, 1, 4))
        assert result.ids.float().mean() == pytest.approx(0.75, abs=0.03)
        result.codes.sum().backward()
        assert quantizer.codes.grad.abs().sum() > 0


@settings(max_examples=25)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=60))
def test_codebook_statistics(ids: list[int]) -> None:
    counts = count_ids(torch.tensor(ids), 8, 1).numpy()
    assert counts.sum() == len(ids)
    assert usage(counts) == pytest.approx(len(set(ids)) / 8)
    assert 1 <= perplexity(counts) <= len(set(ids)) + 1e-9


def test_statistics_keep_codebooks_apart() -> None:
    counts = count_ids(torch.tensor([[0, 1], [0, 0]]), 2, 2).numpy()
    assert counts.tolist() == [[2, 0], [1, 1]]
    assert perplexity(counts) == pytest.approx(1.5)


def test_tokens_of_the_packaged_tokenizers_still_mean_the_same() -> None:
    """Their fingerprints, which tokenized datasets and runs remember; depth is read from 128 pixels."""
    model = am.load("tiny", modalities=["depth", "dinov2_global"])
    prints = {m.name: m.tokenizer.fingerprint()[:16] for m in model.modalities}
    assert prints == {"depth": "ca6dcaa1c666f96d", "dinov2_global": "2f290c169b42fbd6"}
