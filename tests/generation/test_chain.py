"""Whether targets are made one from another: what is asked for comes first, then what the checkpoint says."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np
import pytest
from small_runs import command

import anymodal as am
from anymodal.errors import CheckpointError

TARGETS = ["depth", "normal"]
FREE = {"caption": "a red car"}


@pytest.fixture
def apart(small_model, monkeypatch):
    """A model that makes targets of a picture apart, and others in a chain."""
    monkeypatch.setattr(small_model, "bundle", attrs.evolve(small_model.bundle, chain={"grounded": False}))
    return small_model


def same(left: am.Outputs, right: am.Outputs) -> bool:
    return all(np.array_equal(left.tokens[name], right.tokens[name]) for name in TARGETS)


def test_a_checkpoint_says_it_of_pictures_alone(apart, picture):
    grounded: dict[str, Any] = {"rgb": picture}
    ways: tuple[dict[str, Any], ...] = ({}, {"chain": False}, {"chain": True})
    usual, one, other = (apart.generate(grounded, TARGETS, seed=2, **how) for how in ways)
    assert same(usual, one) and not same(usual, other)
    assert (usual.run.chain, one.run.chain, other.run.chain) == (False, False, True)
    free, chained = apart.generate(FREE, TARGETS, seed=2), apart.generate(FREE, TARGETS, seed=2, chain=True)
    assert same(free, chained) and free.run.chain
    first, second = apart.generate_batch([grounded, FREE], TARGETS, seed=[2, 2])
    assert same(first, usual) and same(second, free)
    stream = apart.stream(grounded, TARGETS, seed=2)
    assert list(stream) and same(stream.outputs[0], usual)
    larger = apart.generate(grounded, TARGETS, seed=2, size=(48, 48))
    assert not larger.run.chain and apart.generate(grounded, TARGETS, seed=2, size=(48, 48), chain=True).run.chain


def test_it_is_saved_and_read_again(apart, picture, tmp_path):
    apart.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["chain"] == am.load(tmp_path / "model").bundle.chain == {"grounded": False}
    photos = tmp_path / "photos"
    apart.modalities["rgb"].write(picture, photos / "a.png")
    how = ("--to", ",".join(TARGETS), "--model", tmp_path / "model")
    for flags, chain in (((), False), (("--chain",), True), (("--no-chain",), False)):
        assert command("generate", f"rgb={photos / 'a.png'}", *how, *flags, "--out", tmp_path / "one") == 0
        assert am.Outputs.load(tmp_path / "one").run.chain is chain
    for flags, before in (((), []), (("--chain",), ["depth"])):
        out = tmp_path / f"many{len(flags)}"
        assert command("generate", f"rgb={photos}", *how, *flags, "--out", out) == 0
        made = json.loads((out / "manifest.json").read_text())["modalities"]["normal"]
        assert list(made["after"]) == before
    config["chain"] = {"ground": False}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="chain has 'ground'; did you mean 'grounded'"):
        am.load(tmp_path / "model")
