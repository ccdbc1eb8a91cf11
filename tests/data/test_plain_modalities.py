"""A modality derived from `Modality` alone, that copies what a family does, is never second class in data.

Its tokens are stored, refused when its settings changed, checked, masked, and drawn in an order of their own.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import anymodal as am
from anymodal.data.check import check_dataset
from anymodal.data.config import DataConfig
from anymodal.data.crops import Crops
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.sources.open import open_source
from anymodal.data.store.reader import TokenStore
from anymodal.errors import DataError
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.plugins.registry import registry
from anymodal.spaces import Stream, TokenSpace
from anymodal.text import Vocabulary
from anymodal.tokenizers.tokenizer import VQTokenizer

COUNT = 6


class Plate(am.Modality):
    """Two numbers from 0 to 1, spelled as words of the shared vocabulary in any order."""

    settings: ClassVar[tuple[str, ...]] = ("bins", "length")
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    spelled: ClassVar[bool] = True
    bins: int = 100
    length: int = 12

    def streams(self) -> tuple[Stream, ...]:
        return (
            (Stream(self.name, self.name, self.vocabulary.space(self.length, True)),)
            if self.vocabulary
            else (Stream(self.name, self.name, TokenSpace.sequence(3000, self.length, sentinels=(4, 16), end=3)),)
        )

    def spell(self, value: list[float], rng: np.random.Generator | None = None) -> str:
        chunks = [f"v1={k} v0={int(number * (self.bins - 1))}" for k, number in enumerate(value)]
        return " ".join(chunks if rng is None else [chunks[k] for k in rng.permutation(len(chunks))])

    def read(self, path: Path) -> list[float]:
        return json.loads(path.read_text())

    def tokenize(self, values: list[Any], rng: np.random.Generator | None = None) -> dict[str, list[np.ndarray]]:
        texts = [self.spell(value, rng) for value in values]
        ids = [np.append(self.vocabulary.encode(text), self.vocabulary.end)[: self.length] for text in texts]
        return {self.name: ids}


class Means:
    """A tokenizer of its own: the mean of each quarter of the picture, in steps."""

    def __init__(self, codebook: int, version: int = 1) -> None:
        self.codebook, self.version = codebook, version

    def fingerprint(self) -> str:
        return f"means-{self.codebook}-{self.version}"

    def to(self, device: Any) -> None:
        pass

    def ids(self, value: np.ndarray) -> np.ndarray:
        half = len(value) // 2
        means = value.reshape(2, half, 2, half).mean((1, 3)).ravel()
        return np.minimum((means * self.codebook).astype(np.int64), self.codebook - 1)


class Tiles(am.Modality):
    """A square of numbers in 0..1, four tokens on a grid."""

    settings: ClassVar[tuple[str, ...]] = ("codebook", "gain")
    suffixes: ClassVar[tuple[str, ...]] = (".npy",)
    codebook: int = 16
    gain: float = 1.0

    def streams(self) -> tuple[Stream, ...]:
        return (Stream(self.name, self.name, TokenSpace.grid(self.codebook, 2, 2)),)

    def read(self, path: Path) -> np.ndarray:
        return np.load(path)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.name: [self.tokenizer.ids(value * self.gain) for value in values]}


def make(vocabulary: Any, *, bins: int = 100, length: int = 12, gain: float = 1.0, version: int = 1) -> am.ModalitySet:
    plate, tiles = Plate(bins=bins, length=length), Tiles(gain=gain)
    tiles.tokenizer = Means(tiles.codebook, version)
    return am.ModalitySet([plate, tiles], vocabulary)


@pytest.fixture(scope="module")
def made(vocabulary, tmp_path_factory) -> Path:
    """Values in `data`, and the tokens of three crops of each in `tokens`."""
    root, rng = tmp_path_factory.mktemp("plain"), np.random.default_rng(0)
    for name in ("plate", "tiles"):
        (root / "data" / name).mkdir(parents=True)
    for k in range(COUNT):
        (root / f"data/plate/{k}.json").write_text(json.dumps(rng.random(2).tolist()))
        np.save(root / f"data/tiles/{k}.npy", rng.random((4, 4)))
    tokenize_dataset(root / "data", partial(make, vocabulary), root / "tokens", crops=Crops(3), shard_size=4)
    return root


def test_tokens_are_stored_as_the_modality_makes_them(made, vocabulary):
    store, modalities = TokenStore(made / "tokens"), make(vocabulary)
    assert set(store.streams) == {"plate", "tiles"} and len(store) == COUNT
    orders = set()
    for index in range(COUNT):
        values = {
            name: modalities[name].read(made / f"data/{name}/{index}{modalities[name].suffixes[0]}")
            for name in ("plate", "tiles")
        }
        sample = store.sample(index)
        for name, value in values.items():
            assert np.array_equal(sample[name], modalities[name].tokenize([value])[name][0])
        orders |= {store.sample(index, crop)["plate"].tolist() == sample["plate"].tolist() for crop in (1, 2)}
    assert orders == {True, False}, "further crops are spelled in an order of their own"


def test_tokens_of_other_settings_are_refused(made, vocabulary):
    def source(**settings: Any) -> int:
        return len(open_source(DataConfig(path=str(made / "tokens")), make(vocabulary, **settings)))

    assert source() == COUNT
    with pytest.raises(DataError, match=r"tokenized with bins 100 of 'plate', not 200: train with the settings"):
        source(bins=200)
    with pytest.raises(DataError, match=r"tokenized with length 12 of 'plate', not 20"):
        source(length=20)
    with pytest.raises(DataError, match=r"tokenized with gain 1.0 of 'tiles', not 2.0"):
        source(gain=2.0)
    with pytest.raises(DataError, match="with another tokenizer of 'tiles'"):
        source(version=2)
    with pytest.raises(DataError, match=r"made with other settings: plate.settings.bins was 100, is 200"):
        other = partial(make, vocabulary, bins=200)
        tokenize_dataset(made / "data", other, made / "tokens", crops=Crops(3), shard_size=4)


def test_they_are_tokenized_while_a_model_trains_and_masked(made, vocabulary):
    modalities = make(vocabulary)
    source = open_source(DataConfig(path=str(made / "data")), modalities)
    spellings = {tuple(source.sample(0, np.random.default_rng(seed))["plate"].tolist()) for seed in range(12)}
    assert len(spellings) == 2, "of many spellings, one is drawn"
    masker = Masker(modalities.layout, MaskingConfig(4, 6, (Component({"tiles": 1}, {"plate": 1}),)))
    for kind in ("data", "tokens"):
        sample = open_source(DataConfig(path=str(made / kind)), modalities).sample(1, np.random.default_rng(0))
        packed = masker(sample, np.random.default_rng(0), 0)
        assert packed.inputs.ids.size and packed.targets.labels.size


def test_they_are_checked(made, vocabulary):
    modalities = make(vocabulary)
    files = check_dataset(made / "data", modalities.modalities)
    assert files.counts == {"plate": COUNT, "tiles": COUNT} and not len(files.problems)
    tokens = check_dataset(made / "tokens")
    assert tokens.counts == {"plate": COUNT, "tiles": COUNT} and not len(tokens.problems)
    assert tokens.tokens["tiles"].size == 16 and tokens.tokens["plate"].longest == 5


@pytest.mark.parametrize(
    ("name", "stored", "now", "words"),
    [
        ("det", {"bins": 1000}, {"bins": 500}, "bins 1000 of 'det', not 500"),
        ("color_palette", {"colors": 5}, {"colors": 3}, "colors 5 of 'color_palette', not 3"),
        ("human_poses", {"bins": 1000}, {"bins": 500}, "bins 1000 of 'human_poses', not 500"),
    ],
)
def test_structured_tokens_of_other_settings_are_refused(tmp_path, name, stored, now, words):
    cls, vocabulary = registry().modality(name), Vocabulary.train(["a cup on a table"] * 9, size=4600)
    modality = cls(**stored)
    if cls.has_tokenizer:
        part = {"width": 16, "blocks": 1}
        modality.tokenizer = VQTokenizer(modality.tokenizer_config(part, part)).eval()
    value = next(iter(modality.examples(np.random.default_rng(0)).values()))
    modality.write(value, tmp_path / "data" / name / f"a{modality.suffixes[0]}")
    tokenize_dataset(tmp_path / "data", lambda: am.ModalitySet([modality], vocabulary), tmp_path / "tokens")
    path = DataConfig(path=str(tmp_path / "tokens"))
    assert len(open_source(path, am.ModalitySet([cls(**stored)], vocabulary))) == 1
    with pytest.raises(DataError, match=f"was tokenized with {words}"):
        open_source(path, am.ModalitySet([cls(**now)], vocabulary))
