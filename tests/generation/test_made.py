"""What is made of sampled tokens: several draws merged, finer streams, vectors for retrieval, values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.errors import GenerationError
from anymodal.families import VectorModality
from anymodal.generation.state import StreamTokens
from anymodal.generation.values import completed, values_of
from anymodal.model import ModelConfig, Transformer
from anymodal.sampling import Mean
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.multimodal.validation import Evaluation

SMALL = {"dim": 32, "depth": 1, "heads": 2}


# Several draws, merged.


class Words(am.TextModality):
    """A set of words."""

    name = "words"
    length = 12

    def merge(self, values: list[Any]) -> Any:
        return " ".join(sorted({word for value in values for word in value.split()}))


@pytest.fixture(scope="module")
def many(vocabulary) -> am.AnyModel:
    torch.manual_seed(3)
    planet = am.image("planet", channels=3, size=32, patch=8, codebook=32, latent=8, larger=(64,))()
    planet.tokenizer = VQTokenizer(planet.tokenizer_config(SMALL, SMALL)).eval()
    vector = VectorModality(channels=6, codebooks=4, codebook=16, latent=8)
    vector.tokenizer = VQTokenizer(vector.tokenizer_config({"width": 16, "blocks": 1}, {"width": 16, "blocks": 1}))
    vector.tokenizer.eval()
    members = am.ModalitySet([planet, Words(), vector, am.TextModality(length=12)], vocabulary)
    model = am.AnyModel(members, ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2))
    with torch.no_grad():
        model.transformer.output_table.mul_(8)
    model.transformer.requires_grad_(False)
    return model


def test_several_draws_of_a_sequence_are_merged(many):
    how = {"temperature": 2.0, "seed": 5}
    picture = np.zeros((32, 32, 3), np.float32)
    one = many.generate({"planet": picture}, "words", **how)
    several = many.generate({"planet": picture}, "words", samples=6, **how)
    assert set(several["words"].split()) and len(several["words"].split()) >= len(set(one["words"].split()))
    again = many.generate_batch([{"planet": picture}] * 2, "words", options={"words": {"samples": 6}}, **how)
    assert again[0]["words"] == several["words"] != again[1]["words"]
    assert len(several.tokens["words"]) <= 12
    text = many.generate({"planet": picture}, ["words", "text_modality"], samples=2, **how)
    assert isinstance(text["text_modality"], str)  # one of the draws, with doubts about each word
    assert text.uncertainty["text_modality"].shape == (len(text["text_modality"].split()),)


def test_inputs_are_encoded_once_for_all_draws(many, monkeypatch):
    rows = []
    encode = type(many.transformer).encode
    monkeypatch.setattr(type(many.transformer), "encode", lambda self, x: rows.append(len(x.ids)) or encode(self, x))
    many.generate({"planet": np.zeros((32, 32, 3))}, "words", samples=5, guidance=1.0)
    assert rows == [1]


# Pictures of held-out samples, while a model is trained.


def test_a_model_of_one_modality_shows_what_it_makes_of_nothing(vocabulary):
    """Of its one modality given nothing would be left to generate."""
    torch.manual_seed(0)
    words = am.ModalitySet([Words()], vocabulary)
    model = am.AnyModel(words, ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2))
    watching = object.__new__(Evaluation)
    watching.modalities, watching.plan = words, SimpleNamespace(given=None)
    watching.batches = SimpleNamespace(sample=lambda index: model.tokenize({"words": "a red car"}))
    assert watching._sheet(model, 0).height > watching._sheet(model, 0).width  # what was made above the truth


# Squares with a token of each of several codebooks.


def test_tokens_of_several_codebooks_are_told_apart_in_previews_and_doubts():
    two = am.image("two", channels=3, size=16, patch=8, codebook=4, codebooks=2, latent=8)()
    two.tokenizer = VQTokenizer(two.tokenizer_config(SMALL, SMALL)).eval()
    members = am.ModalitySet([two])
    known = StreamTokens(np.array([1, 2, 3]), np.array([0, 1, 6]))  # both tokens of a square, and one of the last
    assert completed(members, "two", known).values.tolist() == [1, 2, 1, 2, 1, 2, 3, 2]
    sure = np.eye(4, dtype=np.float32)[[0] * 8]
    sure[[2, 3, 7]] = 0.25
    (made,) = values_of(members, "two", [attrs.evolve(known, probabilities=sure)])
    assert np.allclose(made.uncertainty[::8, ::8], [[0, 2 * np.log(4)], [0, np.log(4)]])


# Finer streams.


def test_outputs_are_upscaled_by_their_tokens(many):
    coarse = many.generate({"words": "a red car"}, "planet", seed=2, temperature=1.0)
    finer = many.upscale(coarse)
    assert coarse["planet"].shape == (32, 32, 3) and finer["planet"].shape == (64, 64, 3)
    assert finer.tokens["planet.64"].shape == (64,) and list(finer.inputs) == ["words"]
    assert np.array_equal(finer["planet"], many.upscale(coarse, "planet", seed=1)["planet"])
    assert not np.array_equal(finer.tokens["planet.64"], many.upscale(coarse, seed=9).tokens["planet.64"])
    named = many.generate({"words": "a red car"}, ["planet", "planet.64"], seed=2)
    assert named["planet.64"].shape == (64, 64, 3)
    with pytest.raises(GenerationError, match="'words' cannot be upscaled; can be: planet"):
        many.upscale(coarse, "words")
    with pytest.raises(GenerationError, match="nothing to upscale"):
        many.upscale(many.generate({"planet": coarse["planet"]}, "words"))


def test_what_was_given_of_an_edited_picture_does_not_come_back_when_it_is_upscaled():
    """Pixels that a model reads besides tokens would show it what was to be made anew."""
    torch.manual_seed(3)
    scene = am.photograph("scene", size=32, patch=8, codebook=32, latent=8, larger=(64,))()
    scene.tokenizer = VQTokenizer(scene.tokenizer_config(SMALL, SMALL)).eval()
    model = am.AnyModel(am.ModalitySet([scene]), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2))
    with torch.no_grad():
        for parameter in model.transformer.parameters():  # so that what is made depends on what is read
            parameter.normal_(0, 0.3)
    given = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    edited = model.generate({"scene": given}, "scene", keep={"scene": np.eye(32) * 0}, seed=2, temperature=1.0)
    alone = am.Outputs(model.modalities, dict(edited), {}, edited.tokens)
    finer = model.upscale(edited, temperature=1.0)
    assert np.array_equal(finer.tokens["scene.64"], model.upscale(alone, temperature=1.0).tokens["scene.64"])


@pytest.mark.parametrize("how", [{"scheme": "mean"}, {"samples": 2}])
def test_finer_values_are_means_or_made_of_several_draws_too(many, how):
    coarse = many.generate({"words": "a red car"}, "planet", seed=2, temperature=1.0)
    for out, name in ((many.upscale(coarse, **how), "planet"), (many.generate({}, "planet.64", **how), "planet.64")):
        assert out[name].shape == (64, 64, 3) and out.uncertainty[name].shape == (64, 64)


def published(domains: list[str], targets: list[str], larger: tuple[int, ...]) -> am.AnyModel:
    """A small random model with the streams of a published configuration."""
    torch.manual_seed(4)
    sizes = {"dim": 8, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2, "act_layer": "SiLU", "gated_mlp": True}
    config, layout = parse_model_config({"domains_in": domains, "domains_out": targets} | sizes, "the test")
    members = []
    for name, codebook in (("rgb", 16384), ("depth", 8192)):
        modality = am.registry().modality(name)(codebook=codebook, latent=4, larger=larger)
        modality.tokenizer = VQTokenizer(modality.tokenizer_config(SMALL, SMALL)).eval()
        members.append(modality)
    model = am.AnyModel(am.ModalitySet(members, layout=layout), Transformer(config, layout))
    model.transformer.requires_grad_(False)
    return model


def test_the_published_layout_goes_from_224_to_448_pixels():
    coarse = ["rgb@224", "tok_rgb@224", "tok_depth@224"]
    fine = ["tok_rgb@448", "tok_depth@448"]
    base = published(coarse, coarse[1:], ())
    finer = published([*coarse, "rgb@448", *fine], fine, (448,))
    depth = np.random.default_rng(0).random((224, 224)).astype(np.float32)
    out = base.generate({"depth": depth}, "rgb", steps=1)
    seen: list[str] = []
    up = finer.upscale(out, progress=lambda step: seen.append(step.target))
    assert out["rgb"].shape == (224, 224, 3) and up["rgb"].shape == (448, 448, 3)
    assert seen == ["rgb.448"] * 8 and list(up.inputs) == ["depth"]
    both = base.generate({}, ["rgb", "depth"], steps=1)
    assert list(finer.upscale(both, steps=1)) == ["depth", "rgb"]


def test_finer_values_are_shown_and_saved(many, tmp_path):
    out = many.generate({"words": "a red car"}, ["planet", "planet.64"])
    assert {p.name for p in out.save(tmp_path)} >= {"planet.png", "planet.64.png", "grid.png"}


# Vectors.


def test_any_input_becomes_a_vector(many):
    vector = many.embed({"words": "a dog"}, to="vector_modality")
    assert vector.shape == (6,) and vector.dtype == np.float32
    assert np.array_equal(vector, many.embed({"words": "a dog"}, to="vector_modality"))
    unit = many.embed({"words": "a dog"}, to="vector_modality", normalize=True)
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-5)
    assert np.allclose(unit * np.linalg.norm(vector), vector, atol=1e-5)
    queries = [{"words": "a dog"}, {"words": "a blue cup on a table"}, {"planet": np.ones((32, 32, 3))}]
    batch = many.embed_batch(queries, to="vector_modality")
    assert batch.shape == (3, 6) and np.allclose(batch[0], vector, atol=1e-5)
    for query, row in zip(queries, batch, strict=True):
        assert np.allclose(many.embed(query, to="vector_modality"), row, atol=1e-5)
    assert many.embed_batch([], to="vector_modality").shape == (0, 6)
    for same in ("mean", Mean(), {"name": "mean"}):
        assert np.array_equal(vector, many.embed({"words": "a dog"}, to="vector_modality", scheme=same))
    how = {"to": "vector_modality", "scheme": "roar", "temperature": 1}
    drawn = [many.embed({"words": "a dog"}, **how) for _ in range(2)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], vector)
    with pytest.raises(GenerationError, match="is not a vector"):
        many.embed({"words": "a dog"}, to="planet")


def test_an_expected_vector_is_that_of_the_mean_codes(many):
    modality = many.modalities["vector_modality"]
    rng = np.random.default_rng(0)
    ids = modality.tokenize([rng.standard_normal(6).astype(np.float32)])["vector_modality"][0]
    sure = np.eye(modality.codebook, dtype=np.float32)[ids]
    assert np.allclose(modality.expect([sure])[0], modality.detokenize([ids])[0], atol=1e-5)


# Values, tokens, values.


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.lists(st.sampled_from(["a", "red", "car", "dog", "table"]), max_size=8))
def test_tokens_of_every_kind_of_stream_become_values_again(many, seed, words):
    rng = np.random.default_rng(seed)
    layout = many.modalities.layout
    tokens = {
        name: rng.integers(0, layout[name].space.size, layout[name].space.length)
        for name in ("planet", "planet.64", "vector_modality")
    }
    values = many.detokenize(tokens)
    assert {k: v.shape for k, v in values.items()} == {
        "planet": (32, 32, 3),
        "planet.64": (64, 64, 3),
        "vector_modality": (6,),
    }
    again = many.tokenize({"planet": values["planet"], "vector_modality": values["vector_modality"]})
    assert {k: (len(v), v.dtype) for k, v in again.items()} == {
        "planet": (16, np.dtype("int64")),
        "planet.64": (64, np.dtype("int64")),
        "vector_modality": (4, np.dtype("int64")),
    }
    text = " ".join(words)
    assert many.detokenize(many.tokenize({"words": text})) == {"words": text}
