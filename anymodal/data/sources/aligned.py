"""Files of natural values, in any layout of files, tokenized on the fly, and of tokens where these are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import numpy as np

from anymodal.crops import Crop
from anymodal.data.config import DataConfig
from anymodal.data.crops import random_crop, stored_crop
from anymodal.data.files.index import FileIndex, Wanted
from anymodal.data.files.open import names_of_parts, open_files
from anymodal.data.files.values import DrawCrop, Extent, ValueSource, wanted_values
from anymodal.data.sources.base import Source, Tokens, streams_of, tokenized
from anymodal.errors import ConfigError, DataError, ValueProblem, nearest
from anymodal.files import parse_array
from anymodal.modality import Modality
from anymodal.tokens import Layout
from anymodal.tokens.checks import unfit_tokens

CROP_SETTINGS = "crop_settings"


@attrs.frozen
class Part:
    """What a folder is for: a modality, the stream that tokens in it belong to, and the streams its values give."""

    modality: Modality
    stream: str
    streams: frozenset[str]


class AlignedDataset:
    """The parts of an aligned dataset: which files of a sample are tokens, and which natural values.

    Tokens are .npy arrays (crops, length) as published with 4M: a further folder `crop_settings` of arrays (crops, 5),
    rows of (top, left, height, width, flip) in pixels, says for every sample which crops of its picture they belong to.
    Without that folder, .npy files are natural values.
    """

    def __init__(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> None:
        self.layout = layout
        self.parts = named_parts(modalities, layout, config.names)
        settings = config.names.get(CROP_SETTINGS, CROP_SETTINGS)
        self.has_settings = settings in names_of_parts(config.path)
        wanted = wanted_values({name: part.modality for name, part in self.parts.items()}, config.names)
        if self.has_settings:
            wanted = {name: attrs.evolve(want, suffixes=(*want.suffixes, ".npy")) for name, want in wanted.items()}
            wanted[CROP_SETTINGS] = Wanted((settings,), (".npy",))
        self.files: FileIndex = open_files(config.path, wanted, config.count)
        for part, folder in config.names.items():
            if part not in self.files.folders:
                raise DataError(f"{config.path} has no folder {folder!r}, which is to hold {part!r}")
        if not self.files.folders.keys() - {CROP_SETTINGS}:
            raise DataError(f"{config.path} has no files for {', '.join(modalities)}")

    def tokens_of(self, index: int) -> dict[str, Part]:
        """The parts of a sample that are stored as tokens."""
        return {name: part for name, part in self.parts_of(index).items() if self._is_tokens(name, index)}

    def values_of(self, index: int) -> dict[str, Part]:
        """The parts of a sample that are natural values."""
        return {name: part for name, part in self.parts_of(index).items() if not self._is_tokens(name, index)}

    def parts_of(self, index: int) -> dict[str, Part]:
        """The parts that a sample has."""
        return {name: part for name, part in self.parts.items() if self.files.holds(name, index)}

    def _is_tokens(self, name: str, index: int) -> bool:
        dense = self.layout[self.parts[name].stream].is_dense
        return self.has_settings and not dense and self.files.suffix(name, index) == ".npy"

    def crop_settings(self, index: int) -> np.ndarray:
        """The crops (crops, 5) of a sample. Raises ValueProblem or DataError."""
        if not self.files.holds(CROP_SETTINGS, index):
            raise ValueProblem(f"{self.files.describe(index)} has no {CROP_SETTINGS}: its crops are not known")
        settings, place = self._array(CROP_SETTINGS, index)
        if settings.ndim != 2 or settings.shape[1] != 5 or not len(settings) or not np.isfinite(settings).all():
            raise ValueProblem(f"{place} has shape {settings.shape}, and is to have rows of 5 finite numbers")
        return settings

    def stored(self, name: str, index: int, crops: int) -> np.ndarray:
        """Tokens (crops, n) int64 of a part. Raises ValueProblem or DataError."""
        array, place = self._array(name, index)
        if array.ndim < 2 or len(array) != crops or array.dtype.kind not in "iu":
            raise ValueProblem(
                f"{place} holds {array.dtype} of shape {array.shape}, not whole numbers for {crops} crops"
            )
        ids = array.reshape(crops, -1).astype(np.int64)
        for row in ids:
            if wanted := unfit_tokens(self.layout, self.parts[name].stream, row):
                raise ValueProblem(f"{place} holds {ids.shape[1]} ids for a crop, and is to hold {wanted}")
        return ids

    def _array(self, name: str, index: int) -> tuple[np.ndarray, str]:
        place = self.files.place(name, index)
        return parse_array(self.files.read(name, index), place), place


class AlignedSource(Source):
    """Samples of an aligned dataset. Of crops that are stored one is drawn, and all modalities of the sample follow."""

    def __init__(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> None:
        self.layout, self.crop = layout, config.crop
        self.dataset = AlignedDataset(config, modalities, layout)
        self.values = ValueSource(self.dataset.files, modalities)
        if self.dataset.has_settings and self.crop is not None:
            raise ConfigError(f"{config.path} has {CROP_SETTINGS}: its crops are drawn from those, so leave out crop")
        found = [part for name, part in self.dataset.parts.items() if name in self.dataset.files.folders]
        derived = [streams_of(modalities[name], layout) for name in self.values.found]
        self.streams = frozenset().union(*(part.streams for part in found), *derived)

    def __len__(self) -> int:
        return len(self.dataset.files)

    def describe(self, index: int) -> str:
        return self.dataset.files.describe(index)

    def order(self, seed: int) -> Callable[[int], int]:
        return self.dataset.files.order(seed)

    def sample(self, index: int, rng: np.random.Generator) -> Tokens:
        tokens: Tokens = {}
        draw: DrawCrop | None = None if self.crop is None else partial(self._random_crop, rng)
        if self.dataset.has_settings:
            settings = self.dataset.crop_settings(index)
            row = int(rng.integers(len(settings)))
            draw = partial(stored_crop, settings, row)
            for name, part in self.dataset.tokens_of(index).items():
                tokens[part.stream] = self.dataset.stored(name, index, len(settings))[row]
        return tokens | self._tokenized(index, draw, frozenset(tokens), rng)

    def _tokenized(self, index: int, crop: DrawCrop | None, known: frozenset[str], rng: np.random.Generator) -> Tokens:
        """Tokens of the natural values of a sample, but for the streams that are `known`."""
        places: dict[str, str] = {}
        requested: dict[str, frozenset[str]] = {}
        for name, part in self.dataset.values_of(index).items():
            places.setdefault(part.modality.name, name)
            requested[part.modality.name] = requested.get(part.modality.name, frozenset()) | part.streams - known
        values = self.values.cut(self.values.read_files(index, {m: places[m] for m, s in requested.items() if s}), crop)
        tokens: Tokens = {}
        for name, value in self.values.derive(values, leave={self.layout[stream].modality for stream in known}).items():
            modality = self.values.modalities[name]
            streams = requested.get(name, streams_of(modality, self.layout))
            found = tokenized(modality, value, streams, self.layout, rng)
            tokens |= {stream: array for stream, array in found.items() if stream in streams}
        return tokens

    def _random_crop(self, rng: np.random.Generator, extent: Extent | None) -> Crop:
        assert self.crop is not None
        return random_crop(self.crop, *(extent or (1.0, 1.0)), rng)


def named_parts(modalities: Mapping[str, Modality], layout: Layout, names: Mapping[str, str]) -> dict[str, Part]:
    """What the folders of a dataset are for: one for each modality, and one for each stream that has a name of its own.

    Raises ConfigError for a name of neither.
    """
    parts = {name: Part(m, name, streams_of(m, layout)) for name, m in modalities.items()}
    for name in names:
        if name in parts or name == CROP_SETTINGS:
            continue
        if name not in layout or layout[name].modality not in modalities:
            known = [*modalities, *layout.index, CROP_SETTINGS]
            raise ConfigError(
                f"names has {name!r}, which is no modality and no stream of the set{nearest(name, known)}"
            )
        parts[name] = Part(modalities[layout[name].modality], name, frozenset([name]))
    return parts
