"""Tokenizers, models, vocabularies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from published_made import SEVEN, config_of, write_model, write_words
from small_runs import MODEL

import anymodal as am
from anymodal.checkpoints.tokenizer import load_tokenizer, save_tokenizer
from anymodal.checkpoints.weights import WeightFile
from anymodal.model import ModelConfig
from anymodal.teachers.towers import PictureTower, TowerConfig, load_tower, save_tower
from anymodal.text import Vocabulary
from fuzz.plain import read_safetensors
from fuzz.subjects.base import Subject, small
from fuzz.subjects.base import held as held_in


def checkpoints(vocabulary: Vocabulary, folder: Path) -> Iterator[Subject]:
    for kind in ("depth", "semseg", "rgb"):
        modality = small(kind)
        save_tokenizer(modality, folder / f"tokenizer-{kind}")
        held = held_in(folder / f"tokenizer-{kind}")
        yield Subject("tokenizers", kind, held, tuple(held), lambda f: load_tokenizer(f).state_dict(), 3)
    weights = held_in(folder / "tokenizer-depth")["model.safetensors"]
    yield Subject("safetensors", "weights", {"a.safetensors": weights}, ("a.safetensors",), _tensors, 4, _plain_tensors)
    members = [small(name) for name in ("depth", "semseg")] + [
        am.registry().modality(name)(length=24) for name in ("caption", "color_palette")
    ]
    model = am.AnyModel(am.ModalitySet(members, vocabulary), ModelConfig(**MODEL))
    held = held_in(model.save_pretrained(folder / "model"))
    victims = tuple(name for name in held if not name.endswith(".md"))
    yield Subject("models", "ours", held, victims, _model, 3)
    several = held_in(model.save_pretrained(folder / "several", max_shard_size=20_000))
    shards = tuple(name for name in several if name.startswith("model"))
    yield Subject("models", "in several files", several, shards, _model, 0.7)
    tower = held_in(save_tower(PictureTower(TowerConfig(size=16, patch=8, dim=16, depth=1, heads=2)), folder / "tower"))
    yield Subject("models", "a teacher", tower, tuple(tower), lambda f: load_tower(f).state_dict(), 1)
    held = held_in(write_model(folder / "4M", config_of(SEVEN)))
    words = write_words(folder).read_bytes()
    yield Subject("models", "of 4M", {**held, "text_tokenizer_4m_wordpiece_30k.json": words}, tuple(held), _model, 0.7)
    pretty = vocabulary.to_json().encode()
    yield Subject("vocabularies", "ours", {"vocabulary.json": pretty}, ("vocabulary.json",), _words, 2)


def _tensors(folder: Path) -> dict[str, Any]:
    with WeightFile.single(folder / "a.safetensors") as file:
        return {name: file.get_tensor(name).clone() for name in sorted(file.keys())}


def _plain_tensors(data: bytes) -> dict[str, Any]:
    return {name: torch.tensor(array) for name, array in sorted(read_safetensors(data).items())}


def _model(folder: Path) -> dict[str, Any]:
    model = am.load(folder)
    here = [m for m in model.modalities if m.pending is None and m.tokenizer is not None]
    tokens = {m.name: m.tokenizer.state_dict() for m in here}
    words = sorted(model.modalities.vocabulary.words().items())
    return {"model": model.transformer.state_dict(), "tokenizers": tokens, "words": words}


def _words(folder: Path) -> list[Any]:
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    ids = vocabulary.encode("a red car, v0=3 [S_1] on a röd road")
    return [sorted(vocabulary.words().items()), vocabulary.bins, ids, vocabulary.decode(ids)]
