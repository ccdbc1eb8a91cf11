"""Tokenizers on disk and on the Hub, in our format or 4M's: loaded now, or when they are first needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from anymodal.checkpoints.formats.fourm.tokenizers import load_tokenizer as load_published
from anymodal.checkpoints.repository import REPOSITORY, Access, Files, Folder, Repository
from anymodal.checkpoints.version_1 import renamed
from anymodal.checkpoints.weights import WEIGHTS, WeightFile, fill, save_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.files import read_object, write_json
from anymodal.modality import Modality
from anymodal.nn.init import blank
from anymodal.spaces import TokenSpace
from anymodal.tokenizers.config import TokenizerConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer, outlined_tokenizer
from anymodal.tokenizers.tokenizer import VQTokenizer

PLACES = "ANYMODAL_TOKENIZERS"
AnyTokenizer = VQTokenizer | DiffusionTokenizer


@attrs.frozen
class Deferred:
    """Loads the tokenizer of a modality from a folder, a single file or a repository; `size` ids are expected."""

    modality: str
    place: str
    size: int | None
    access: Access

    def __call__(self) -> Any:
        try:
            tokenizer = load_any(self.place, self.access)
        except CheckpointError as error:
            hint = f"to load one of your own, pass tokenizers={{{self.modality!r}: PATH}}"
            raise CheckpointError(f"the tokenizer of {self.modality!r}: {error}; {hint}") from error
        found = tokenizer.config.quantizer.size
        if self.size not in (None, found):
            raise CheckpointError(
                f"the tokenizer {self.place} has {found} ids, the model needs {self.size} for {self.modality!r}"
            )
        return tokenizer

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine, outside the Hub's cache."""
        return Path(self.place).exists()


def defer(modality: Modality, place: str | None, access: Access) -> None:
    """Let a modality load its tokenizer from `place` when it first needs it; nothing if there is no place."""
    if place is not None:
        space = next((s.space for s in modality.streams() if s.name == modality.name), None)
        size = space.size if isinstance(space, TokenSpace) and not space.is_sequence else None
        modality.pending = Deferred(modality.name, place, size, access)


def place_of(
    name: str, repository: str | None, given: Mapping[str, str | Path] | str | Path | None, beside: Path | None = None
) -> str | None:
    """Where the tokenizer of a modality is: as `given` says, in the folder `beside` a model, or on the Hub.

    `given` maps names of modalities to folders, files or repositories, or is a folder with one folder each, named like
    the modality or like the repository; the environment variable ANYMODAL_TOKENIZERS names such a folder too.
    """
    if isinstance(given, Mapping):
        if name in given:
            return str(given[name])
        given = None
    folders = [Path(folder) for folder in (given, beside, os.environ.get(PLACES)) if folder]
    for folder in folders:
        for part in filter(None, (name, (repository or "").rpartition("/")[2])):
            if (folder / part / "config.json").is_file():
                return str(folder / part)
    return repository


def load_any(place: str | Path, access: Access | None = None) -> AnyTokenizer:
    """A tokenizer of our format or 4M's from a folder, a single file or a repository. Raises CheckpointError."""
    path = Path(place)
    if path.is_file():
        return load_published(path)
    if not path.is_dir() and not REPOSITORY.fullmatch(str(place)):
        raise CheckpointError(f"{str(place)!r} is neither a folder nor a .safetensors file nor a repository")
    files: Files = Folder(path) if path.is_dir() else Repository(str(place), None, access or Access())
    raw = read_object(files.path("config.json"))
    if "tokenizer" in raw:
        return load_tokenizer(files)
    files.path(WEIGHTS)
    return load_published(files.path("config.json").parent)


def tokenizer_record(path: Path) -> dict[str, Any]:
    """The config.json of a tokenizer of ours: the modality, its settings, and what the tokenizer is made of."""
    return renamed(read_object(path))


def load_tokenizer(files: Files, part: str = "") -> AnyTokenizer:
    """The tokenizer in a folder of our format, such as ``modalities/NAME/``; float32, in evaluation mode."""
    path = files.path(f"{part}config.json")
    try:
        config = structure(tokenizer_record(path).get("tokenizer"), TokenizerConfig, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    tokenizer = blank(outlined_tokenizer(config))
    with WeightFile.single(files.path(f"{part}{WEIGHTS}")) as file:
        fill(tokenizer.state_dict().items(), file.rows, f"{files}/{part}".rstrip("/"))
    return tokenizer.eval().requires_grad_(False)


def save_tokenizer(modality: Modality, part: Path, dtype: torch.dtype | None = None) -> None:
    """Write a modality's tokenizer and its settings; the config comes last."""
    save_bare(modality.tokenizer, part, dtype, {"modality": modality.name, "settings": modality.config()})


def save_bare(
    tokenizer: AnyTokenizer, part: Path, dtype: torch.dtype | None = None, about: Mapping[str, Any] | None = None
) -> None:
    """Write a tokenizer in our format, with what its config says `about` the modality; the config comes last."""
    save_weights(tokenizer.state_dict().items(), part, dtype)
    write_json({**(about or {}), "tokenizer": attrs.asdict(tokenizer.config)}, part / "config.json")
