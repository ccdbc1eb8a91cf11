"""Texts token by token in memory set aside once: the same as decoding all at once, however the weights lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.model import ModelConfig, Transformer
from anymodal.model import steps as steps_module
from anymodal.model.steps import Steps, Texts
from anymodal.nn import copies
from anymodal.nn.copies import WeightCopies, weight_copies
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Layout, Packer, Targets, collate

LENGTH = 12
TEXT = TokenSpace.sequence(40, LENGTH, sentinels=(4, 8), end=3)
LAYOUT = Layout([Stream("a", "a", TokenSpace.grid(16, 2, 3)), Stream("t", "t", TEXT)])


def model(**settings) -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(**({"dim": 32, "encoder_depth": 1, "decoder_depth": 2, "heads": 2} | settings))
    return Transformer(config, LAYOUT).eval().requires_grad_(False)


def contexts(net: Transformer, *counts: int):
    """What samples with so many tokens of the grid each are read as; no two of them are padded to one another."""
    found = []
    for count in counts:
        packer = Packer(LAYOUT)
        packer.add_input("a", np.arange(count), np.arange(count))
        found.append(net.encode(collate([packer.pack()], LAYOUT, input_tokens=1).inputs))
    return found


def at_once(net: Transformer, context, ids: list[int]) -> torch.Tensor:
    """Scores (n, V) after each of the ids, by one pass over all of them."""
    fed = torch.tensor([ids])
    where = torch.from_numpy(LAYOUT.target_rows("t", np.arange(len(ids))))[None]
    targets = Targets(
        fed + LAYOUT.queries["t"].start,
        where,
        torch.full_like(fed, LAYOUT.index["t"]),
        torch.arange(1, len(ids) + 1)[None],
        torch.full_like(fed, NO_LABEL),
    )
    return net.logits(net.decode(targets, context), "t")[0]


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("patience", [0, 8, 10**9])
def test_steps_equal_decoding_at_once(monkeypatch, gated, qk_norm, bias, patience):
    monkeypatch.setattr(copies, "PATIENCE", patience)
    monkeypatch.setattr(steps_module, "ROOM", 4)
    net = model(gated=gated, qk_norm=qk_norm, mlp_bias=bias, qkv_bias=bias, norm_bias=bias)
    read, ids = contexts(net, 6, 0), [20, 4, 33, 9, 39, 12, 20, 20, 30, 31, 32, 33]
    with torch.inference_mode():
        steps = Steps(net, [Texts(read, "t")])
        scores = torch.stack([steps.step([[token]])[0] for token in ids], 1)
        for number, context in enumerate(read):
            assert torch.allclose(scores[number, :, 0], at_once(net, context, ids), atol=1e-4)
    assert bool(weight_copies(net).nbytes) == (patience < 10**9)


def test_many_rows_equal_decoding_at_once(monkeypatch):
    monkeypatch.setattr(copies, "PATIENCE", 0)
    net, ids = model(), [[20 + k, 30, 31] for k in range(5)]
    with torch.inference_mode():
        read = contexts(net, 6, 2)
        steps = Steps(net, [Texts(read, "t", times=5)])
        scores = torch.stack([steps.step([[each[k] for each in ids]])[0] for k in range(3)], 2)
        for number, context in enumerate(read):
            for row, each in enumerate(ids):
                assert torch.allclose(scores[number, row], at_once(net, context, each), atol=1e-4)


def test_mixed_precision_uses_the_weights_themselves(monkeypatch):
    monkeypatch.setattr(copies, "PATIENCE", 0)
    net = model()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        scores = Steps(net, [Texts(contexts(net, 6), "t")]).step([[20]])[0]
        assert torch.allclose(scores[0].float(), at_once(net, contexts(net, 6)[0], [20]).float(), atol=0.1)
    assert not weight_copies(net).nbytes


def test_rows_that_are_kept_go_on_as_alone():
    net, ids = model(), [[20, 30], [21, 31], [22, 32]]
    with torch.inference_mode():
        alone = [at_once(net, contexts(net, 4)[0], each) for each in ids]
        steps = Steps(net, [Texts(contexts(net, 4), "t", times=3)])
        first = steps.step([[each[0] for each in ids]])[0]
        steps.keep([[2, 0]])
        second = steps.step([[ids[2][1], ids[0][1]]])[0]
    assert all(torch.allclose(first[0, k], alone[k][0], atol=1e-4) for k in range(3))
    assert torch.allclose(second[0, 0], alone[2][1], atol=1e-4)
    assert torch.allclose(second[0, 1], alone[0][1], atol=1e-4)


class TestWeightCopies:
    @pytest.mark.parametrize("rows", [1, 3, 4, 8, 32])
    def test_products_are_those_of_the_weights(self, rows):
        first, second, x = torch.randn(50, 30), torch.randn(20, 30), torch.randn(rows, 30)
        copy = WeightCopies().get("w", [first, second], rows)
        assert copy is None or torch.allclose(copy.product(x), x @ torch.cat([first, second]).t(), atol=1e-4)
        assert copy is not None or rows > copies.TURNED  # where there is no oneDNN

    def test_a_copy_is_made_again_when_the_weights_changed(self):
        weight, made = torch.randn(5, 3), WeightCopies()
        x = torch.eye(3)
        first = made.get("w", [weight, weight], 1)
        assert torch.equal(first.product(x), torch.cat([weight, weight]).t())
        assert made.get("w", [weight, weight], 2) is first
        weight.mul_(2)
        again = made.get("w", [weight, weight], 1)
        assert torch.equal(again.product(x), torch.cat([weight, weight]).t()) and made.nbytes == again.nbytes
        moved = weight.clone()
        assert made.get("w", [moved, moved], 1) is not again and made.nbytes == again.nbytes

    def test_a_copy_is_made_again_of_weights_that_lie_where_others_were(self):
        """Weights that are swapped for others, as averages are, often come to lie at an address from before."""
        place, made, x = np.zeros((4, 3), np.float32), WeightCopies(), torch.eye(3)
        for number in range(1, 4):
            place[:] = number
            weight = torch.from_numpy(place)
            copy = made.get("w", [weight], 1)
            assert torch.equal(copy.product(x), weight.t()) and made.get("w", [weight], 1) is copy
            del weight

    @pytest.mark.parametrize("through_data", [False, True], ids=["in place", "through .data"])
    def test_texts_of_a_model_that_was_trained_on_are_those_of_its_new_weights(self, monkeypatch, through_data):
        monkeypatch.setattr(copies, "PATIENCE", 0)
        net = model()
        scores = lambda: Steps(net, [Texts(contexts(net, 3), "t")]).step([[20]])[0]  # noqa: E731
        before = scores()
        for parameter in net.parameters():
            (parameter.data if through_data else parameter).mul_(1.5)
        assert not torch.allclose(before, scores(), atol=1e-3)
        assert torch.allclose(scores()[0], at_once(net, contexts(net, 3)[0], [20]), atol=1e-4)

    def test_they_take_no_more_than_is_allowed_and_go_with_the_model(self, monkeypatch):
        monkeypatch.setattr(copies, "MOST", 100)
        made = WeightCopies()
        assert made.get("small", [torch.zeros(5, 5)], 1) is not None
        assert made.get("large", [torch.zeros(5, 5)], 1) is None and made.nbytes == 100
        net = model()
        kept = weight_copies(net)
        assert weight_copies(net) is kept
        del net
        assert kept not in copies._OF_MODEL.values()

    def test_they_are_made_only_when_they_pay(self):
        made = WeightCopies()
        assert [made.wait(1) for _ in range(41)] == [False] * 40 + [True]
        made = WeightCopies()
        assert [made.wait(8) for _ in range(14)] == [False] * 13 + [True]
        assert not made.wait(copies.PACKED + 1)
        assert WeightCopies().get("half", [torch.zeros(2, 2, dtype=torch.bfloat16)], 1) is None
