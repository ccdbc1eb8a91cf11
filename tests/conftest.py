"""Small real parts that many tests share: a vocabulary, a set of the seven modalities, a model over it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from known_model import embedded, scored  # noqa: F401
from published_made import SEVEN, config_of, write_model, write_words
from small_runs import GRID

import anymodal as am
from anymodal.model import ModelConfig
from anymodal.plugins import Registry, registry, use
from anymodal.text import Vocabulary
from anymodal.tokenizers.tokenizer import VQTokenizer

settings.register_profile("busy machines", deadline=None)  # how long an example takes says nothing there
settings.load_profile("busy machines")

TEXTS = ["a red car on a road", "a blue cup on a table", "a person in a green shirt next to a dog"] * 3
SMALL = {"dim": 32, "depth": 1, "heads": 2}


LONG = (
    "test_distributed.py",
    "test_tiny21.py",
    "test_jobs.py",
    "test_parity_faults.py",
    "test_tokenizer_runs.py",
    "test_quantizer_runs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take longest come first, so that no process is left alone with one of them at the end."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def build_set(names: list[str], vocabulary: Vocabulary) -> am.ModalitySet:
    """Modalities at 32 pixels with random tokenizers."""
    members = []
    for name in names:
        cls = registry().modality(name)
        if "codebook" in cls.settings:
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


@pytest.fixture(scope="session")
def published_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary file as 4M published it."""
    return write_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def seven_published(published_words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seven modalities as 4M published them."""
    folder = write_model(tmp_path_factory.mktemp("published") / "4M", config_of(SEVEN))
    shutil.copy(published_words, folder)
    return folder


@pytest.fixture
def published_copy(seven_published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seven_published, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    """Tests of a process share what is registered, so none may leave a class behind."""
    before = dict(registry()._added)
    yield
    assert registry()._added == before, "the test registers classes: take the fixture `notebook` or `registry`"


@pytest.fixture
def notebook() -> Iterator[Registry]:
    """What is installed, as in a new notebook: classes added to it are gone after the test."""
    with use(Registry()) as found:
        yield found


@pytest.fixture
def without_depth() -> Iterator[None]:
    """As if there were no plugin for depth."""
    with use(Registry(environ={"ANYMODAL_DISABLE": "depth"})):
        yield


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
