"""Small real parts that many tests share: a vocabulary, a set of the seven modalities, a model over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import GRID

import anymodal as am
from anymodal.model import ModelConfig
from anymodal.plugins import registry
from anymodal.text import Vocabulary
from anymodal.tokenizers.tokenizer import VQTokenizer

TEXTS = ["a red car on a road", "a blue cup on a table", "a person in a green shirt next to a dog"] * 3
SMALL = {"dim": 32, "depth": 1, "heads": 2}


def build_set(names: list[str], vocabulary: Vocabulary) -> am.ModalitySet:
    """Modalities at 32 pixels with random tokenizers."""
    members = []
    for name in names:
        cls = registry().modality(name)
        if "codebook" in cls.numbers:
            modality = cls(**GRID, **({"channels": 4} if name == "semseg" else {}))
            modality.tokenizer = VQTokenizer(modality.tokenizer_config(SMALL, SMALL)).eval()
        else:
            modality = cls(length=24)
        members.append(modality)
    return am.ModalitySet(members, vocabulary)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(TEXTS, size=1200, bins=256, sentinels=16)


@pytest.fixture(scope="session")
def seven(vocabulary: Vocabulary) -> am.ModalitySet:
    torch.manual_seed(0)
    return build_set(["depth", "normal", "semseg", "canny_edge", "rgb", "caption", "color_palette"], vocabulary)


@pytest.fixture(scope="session")
def small_model(seven: am.ModalitySet) -> am.AnyModel:
    torch.manual_seed(1)
    model = am.AnyModel(seven, ModelConfig(dim=32, encoder_depth=2, decoder_depth=2, heads=2))
    with torch.no_grad():
        model.transformer.output_table.mul_(8)  # far from uniform, so that a wrong path shows
    model.transformer.requires_grad_(False)
    return model


@pytest.fixture(scope="session")
def checkpoint(small_model: am.AnyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.save_pretrained(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
