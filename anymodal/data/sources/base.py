"""Where samples come from: every dataset that a run may name, as tokens by index.

A source is random access and draws only from the generator it is given, so that a sample is a function of its index and
of that generator. What cannot be used raises an error that names the place.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.files import storage
from anymodal.data.jobs.manifest import digest
from anymodal.data.order import Shuffled
from anymodal.data.store.reader import TokenStore, read_manifest
from anymodal.errors import AnymodalError, ConfigError, DataError, nearest
from anymodal.files import read_json
from anymodal.modality import Modality
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet

Tokens = dict[str, np.ndarray]
BOOKS = ("manifest.json", ".jobs/plan.json")  # of a dataset that was made shard by shard, or is being made


class Source(ABC):
    """A dataset as tokens. `streams` names those that its samples may have."""

    streams: frozenset[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        """Ids (n,) int64 or rows (n, width) float32 by stream; `rng` draws the crop. Raises AnymodalError."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """Where a sample lies, for people."""

    def order(self, seed: int) -> Callable[[int], int]:
        """Which sample comes at a position: every epoch visits each once, in an order drawn from the seed."""
        return Shuffled(len(self), seed)


def open_source(config: DataConfig, modalities: ModalitySet) -> Source:
    """The samples of a dataset. Raises DataError or ConfigError if it does not fit the modalities."""
    for name in config.modalities:
        if name not in modalities:
            raise ConfigError(
                f"{config.path} asks for the modality {name!r}, which is not in the set"
                f"{nearest(name, modalities.modalities)}"
            )
    from anymodal.data.sources.aligned import AlignedSource
    from anymodal.data.sources.huggingface import RowSource

    kinds: dict[str, Callable[..., Source]] = {"rows": RowSource, "tokens": StoreSource, "files": AlignedSource}
    chosen = {m.name: m for m in modalities if not config.modalities or m.name in config.modalities}
    return kinds[kind_of_dataset(config.path)](config, chosen, modalities.layout)


def kind_of_dataset(path: str) -> str:
    """Which kind of dataset a path is: "rows" of Hugging Face datasets, "tokens", or "files" in folders and tars."""
    if path.startswith("hf:") and not path.startswith("hf://"):
        return "rows"
    if storage.is_remote(path):
        return "files"
    saved = any(Path(path, name).is_file() for name in ("dataset_dict.json", "dataset_info.json"))
    if saved or path.endswith((".parquet", ".json", ".jsonl")):
        return "rows"
    books = [book for name in BOOKS if (book := Path(path, name)).is_file()]
    return "tokens" if books and not _labeled(books[0]) else "files"


def _labeled(book: Path) -> bool:
    """Whether the books of a dataset that was made shard by shard say that it holds values, not tokens."""
    try:
        known = read_json(book)
    except AnymodalError:
        return False
    return isinstance(known, dict) and known.get("kind") == "values"


class StoreSource(Source):
    """A tokenized dataset, with one of its crops at random."""

    def __init__(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> None:
        if config.crop is not None or config.names:
            raise ConfigError(f"{config.path} is tokenized: its crops are drawn from those stored, its names are fixed")
        self.store = TokenStore(config.path)
        known = read_manifest(Path(config.path))["modalities"]
        self.count = min(len(self.store), config.count or len(self.store))
        self.path, self.layout = config.path, layout
        wanted = [s for s in layout.streams if s.modality in modalities]
        self.streams = frozenset(s.name for s in wanted if s.name in self.store.streams)
        if not self.streams:
            raise DataError(
                f"{config.path} has no stream {' or '.join(repr(s.name) for s in wanted[:5])}; it has"
                f" {', '.join(self.store.streams)}"
            )
        for name in sorted({layout[stream].modality for stream in self.streams}):
            _check_meaning(config.path, modalities[name], known.get(name, {}))
        for name in sorted(self.streams):
            stored, space = self.store.streams[name]["space"], layout[name].space
            same = ("size", "width") if layout[name].is_sequence else ("size", "width", "length")
            for key in same:
                if hasattr(space, key) and stored.get(key) != getattr(space, key):
                    raise DataError(
                        f"{config.path} has another {key} of {name!r} ({stored.get(key)}, not {getattr(space, key)}):"
                        " tokenize it with these tokenizers"
                    )

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        return f"sample {index} of {self.path}"

    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        tokens = self.store.sample(index, crop=int(rng.integers(self.store.crops)))
        return {name: _cut(self.layout, name, array) for name, array in tokens.items() if name in self.streams}


def _check_meaning(path: str, modality: Modality, known: Mapping[str, Any]) -> None:
    """Raise DataError if the ids of a modality were made with other codes, words or settings than it has now."""
    if known.get("tokenizer") and modality.tokenizer and modality.tokenizer.fingerprint() != known["tokenizer"]:
        raise DataError(
            f"{path} was tokenized with another tokenizer of {modality.name!r} (another encoder or codebook):"
            " train with the one that made it, or tokenize it with this one"
        )
    vocabulary = modality.vocabulary
    if known.get("vocabulary") and vocabulary is not None and _hash(vocabulary) != known["vocabulary"]:
        raise DataError(
            f"{path} was tokenized with another vocabulary, in which the ids of {modality.name!r} are other words:"
            " train with the tokenizers that made it, or tokenize it with these"
        )
    if other := modality.other_tokens(known.get("settings", {})):
        raise DataError(
            f"{path} was tokenized with {other}: train with the settings that made it, or tokenize it with these"
        )
    for name, member in modality.members.items():
        _check_meaning(path, member, known.get(name, {}))


@functools.lru_cache(2)
def _hash(vocabulary: Vocabulary) -> str:
    return digest(vocabulary.to_json())


def _cut(layout: Layout, name: str, tokens: np.ndarray) -> np.ndarray:
    """The tokens, as many as a sequence of the layout may have."""
    return tokens[: layout[name].space.length] if layout[name].is_sequence else tokens
