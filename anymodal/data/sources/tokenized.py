"""Tokenized datasets, as `anymodal tokenize` makes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.digest import digest
from anymodal.data.files import storage
from anymodal.data.jobs.verify import report_damaged
from anymodal.data.order import ShuffledShards
from anymodal.data.report import Report
from anymodal.data.sources.base import Begin, DataLayout, Source, Tokens
from anymodal.data.store.reader import TokenStore, read_manifest, read_stream
from anymodal.errors import AnymodalError, ConfigError, DataError, brief
from anymodal.files import read_json
from anymodal.modality import Modality
from anymodal.text import Vocabulary
from anymodal.tokens import Layout

MANIFESTS = ("manifest.json", ".jobs/plan.json")  # of a dataset that was made shard by shard, or is being made


@attrs.frozen
class TokenizedDataset(DataLayout):
    """A folder with a manifest that says that it holds tokens."""

    name: str = attrs.field(init=False, default="tokens")
    description: ClassVar[str] = "tokens made by anymodal tokenize"

    def recognizes(self, path: str) -> bool:
        if storage.is_remote(path):
            return False
        try:
            found = [manifest for name in MANIFESTS if (manifest := Path(path, name)).is_file()]
        except (OSError, ValueError):  # a folder that may not be searched is no dataset of this kind
            return False
        return bool(found) and not _holds_values(found[0])

    def open(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> Source:
        return StoreSource(config, modalities, layout)

    def check(self, config: DataConfig, modalities: Mapping[str, Modality] | None, begin: Begin) -> Report:
        """Read the tokens of all samples and crops; what streams there are is in the manifest."""
        store = TokenStore(config.path)
        layout = Layout(read_stream(raw) for raw in store.streams.values())
        report = Report("tokens", min(len(store), config.count or len(store)), dict.fromkeys(store.streams, 0))
        report.notes.append(f"{store.crops} crops of each sample")
        report_damaged(Path(config.path), report.problems)
        advance = begin(report.samples)
        for index in range(report.samples):
            for crop in range(store.crops):
                try:
                    sample = store.sample(index, crop)
                except AnymodalError as error:
                    report.problems.add("tokens", "not readable", str(error))
                    break
                for name, tokens in sample.items():
                    report.counts[name] += crop == 0
                    report.add_tokens(layout, name, tokens, f"sample {index} of {config.path}")
            advance(1)
        return report


def _holds_values(manifest: Path) -> bool:
    """Whether the manifest of a dataset that was made shard by shard says that it holds values, not tokens."""
    try:
        known = read_json(manifest)
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
            check_meaning(config.path, modalities[name], known.get(name, {}))
        for name in sorted(self.streams):
            self._check_space(name)
        self.store = TokenStore(config.path, wanted=self.streams)
        # A sequence may have been stored longer than it may be here.
        self._cut = {s.name: s.space.length for s in wanted if s.is_sequence and s.name in self.streams}

    def _check_space(self, name: str) -> None:
        """Raise DataError if the ids or rows of a stream are of another size than those that are stored."""
        stored, space = self.store.streams[name]["space"], self.layout[name].space
        same = ("size", "width") if self.layout[name].is_sequence else ("size", "width", "length")
        for key in same:
            if hasattr(space, key) and stored.get(key) != getattr(space, key):
                raise DataError(
                    f"{self.path} has another {key} of {name!r} ({stored.get(key)}, not {getattr(space, key)}):"
                    " tokenize it with these tokenizers"
                )

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        return f"sample {index} of {self.path}"

    def order(self, seed: int) -> Callable[[int], int]:
        """Shards are read in a random order and mixed with one another, as many as are open at a time."""
        ends = np.minimum(np.cumsum(self.store.sizes), self.count)
        return ShuffledShards(np.diff(ends, prepend=0).tolist(), self.store.open_shards, seed)

    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        tokens = self.store.sample(index, crop=int(rng.integers(self.store.crops)))
        for name, length in self._cut.items():
            if len(tokens.get(name, ())) > length:
                tokens[name] = tokens[name][:length]
        return tokens


def check_meaning(path: str, modality: Modality, known: Mapping[str, Any]) -> None:
    """Raise DataError if the ids of a modality were made with other codes, words or settings than it has now.

    `known` is what the manifest of the dataset at `path` says of the modality.
    """
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
    if other := modality.other_tokens(known.get("settings") or {}):
        raise DataError(
            f"{path} was tokenized with {other}: train with the settings that made it, or tokenize it with these"
        )
    for name, member in modality.members.items():
        described = known.get(name, {})
        if not isinstance(described, dict) or not isinstance(described.get("settings", {}), dict):
            raise DataError(f"{path} has a damaged manifest: {name!r} cannot be {brief(described)}")
        check_meaning(path, member, described)


@functools.lru_cache(2)
def _hash(vocabulary: Vocabulary) -> str:
    return digest(vocabulary.to_json())
