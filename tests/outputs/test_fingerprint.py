"""Fingerprints of weights: what tells those apart that made a value."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch
from changed_weights import other_weights

import anymodal as am
from anymodal.config import structure
from anymodal.outputs.fingerprint import Fingerprint, fingerprint, hash_of


@pytest.fixture(scope="module")
def model():
    return am.load("tiny")


def of(model, reads=("rgb", "caption"), makes=("depth",)):
    return fingerprint(model.transformer, model.modalities, reads, makes)


def test_the_fingerprint_tells_weights_apart(model):
    before, depth = of(model), model.modalities["depth"].tokenizer
    assert set(before.modalities) == {"depth.decoder", "vocabulary"}  # pixels need no tokenizer
    kept = fingerprint(model.transformer, model.modalities, keeps=["rgb"])
    assert set(kept.modalities) == {"rgb.encoder"}
    again = am.load("tiny")
    assert not before.difference(of(again))
    for module, part in ((model.transformer, "transformer"), (depth.decoder, "depth.decoder"), (depth.encoder, "")):
        with other_weights(module):
            assert before.difference(of(model)) == part
    with other_weights(depth.encoder):
        assert of(again, ["depth"], []).difference(of(model, ["depth"], [])) == "depth.encoder"
    with other_weights(depth.decoder):
        assert not of(again, ["depth"], []).difference(of(model, ["depth"], []))


@pytest.mark.parametrize("way", ["data", "numpy", "another storage", "another module"])
def test_weights_that_were_edited_in_any_way_have_another_fingerprint(small_model, way):
    """Of the first two, PyTorch keeps no count."""
    transformer = copy.deepcopy(small_model.transformer)
    before, norm = hash_of(transformer.state_dict()), transformer.decoder_norm
    if way == "data":
        norm.weight.data.add_(1e-3)
    elif way == "numpy":
        norm.weight.detach().numpy()[0] += 1
    elif way == "another storage":
        norm.weight.data = norm.weight.data + 1
    else:
        transformer.decoder_norm = copy.deepcopy(norm)
        transformer.decoder_norm.weight.data.mul_(2)
    assert hash_of(transformer.state_dict()) != before


def test_a_hash_is_of_names_shapes_and_17_numbers_spread_over_each_tensor():
    many = torch.arange(40 * 7, dtype=torch.float32).view(40, 7)
    tensors = {
        "many": many,
        "turned": many.t(),
        "part": many[3:20, 2],
        "few": torch.tensor([2**40 + 1, 3]),  # which float32 cannot hold
        "one": torch.tensor(0.1, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "half": torch.full((33,), 0.3, dtype=torch.bfloat16),
    }
    heads = "".join(f"{name} {tuple(each.shape)} {each.dtype};" for name, each in tensors.items())
    numbers = [each.reshape(-1)[:: max(1, each.numel() // 16)][:17].double() for each in tensors.values()]
    whole = hashlib.sha256(heads.encode() + torch.cat(numbers).numpy().tobytes()).hexdigest()
    assert hash_of(tensors) == whole[:32]
    assert hash_of({"many": many}) == hash_of({"many": many.clone().requires_grad_()}) != hash_of({"many": many + 1})


def test_a_fingerprint_from_before_tokenizers_were_kept_is_that_of_the_transformer(model):
    old = structure(of(model).transformer, Fingerprint, "run.json")
    assert not old.modalities and not old.difference(of(model))
    with other_weights(model.transformer):
        assert old.difference(of(model)) == "transformer"
