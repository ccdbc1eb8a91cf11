"""Small real parts that many tests share: a vocabulary, a set of the seven modalities, a model over it."""

from __future__ import annotations

import os
import shutil
import sys
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
from anymodal.config.tables import _TABLES
from anymodal.model import ModelConfig
from anymodal.plugins import Registry, registry, use
from anymodal.text import Vocabulary
from anymodal.tokenizers.tokenizer import VQTokenizer

settings.register_profile("busy machines", deadline=None)  # how long an example takes says nothing there
settings.load_profile("busy machines")

TEXTS = ["a red car on a road", "a blue cup on a table", "a person in a green shirt next to a dog"] * 3
OURS = ("anymodal", "benchmarks")  # modules that may be imported by a test, and fill tables then
VARIABLES = (
    "ANYMODAL_",
    "HF_",
    "RANK",
    "LOCAL_",
    "WORLD_",
    "MASTER_",
    "CUDA_",
    "OMP_",
)  # others are of what is imported
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


def shared() -> dict[str, object]:
    """What the tests of a process share: what one of them changes in it, others would find."""
    tables = [table._classes.values() for table in _TABLES.values()]
    return {
        "classes in the registry": dict(registry()._added),
        "classes of tests in tables": {cls for each in tables for cls in each if not cls.__module__.startswith(OURS)},
        "the environment": {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)},
        "the working directory": Path.cwd(),
        "folders of modules": {*sys.path},
        "the settings of torch": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
        ),
    }


@pytest.fixture(autouse=True)
def nothing_stays_changed() -> Iterator[None]:
    """`monkeypatch`, and the fixtures `notebook` and `registry`, take back what a test changes."""
    before = shared()
    yield
    after = shared()
    changed = [what for what in before if after[what] != before[what]]
    assert not changed, f"the test leaves changed: {', '.join(changed)}"


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
