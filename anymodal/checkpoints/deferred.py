"""Tokenizers that are loaded when they are first needed: where they are, and what is expected of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.checkpoints.repository import CONFIG, Access, Folder
from anymodal.checkpoints.weights import check_depth
from anymodal.errors import AnymodalError, CheckpointError, one_line
from anymodal.modality import Modality
from anymodal.nn.precision import Precision
from anymodal.spaces import TokenSpace
from anymodal.tokenizers.config import TokenizerConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer, tokenizer_on_meta
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer

PLACES = "ANYMODAL_TOKENIZERS"
AnyTokenizer = VQTokenizer | DiffusionTokenizer
Loader = Callable[[str, Access], AnyTokenizer]


def tokenizer_outline(config: TokenizerConfig, source: str, tensors: int) -> AnyTokenizer:
    """A tokenizer on the meta device, by numbers from a file beside one of so many `tensors`.

    Raises CheckpointError for those of no possible one.
    """
    check_depth(config.encoder.stacked + config.decoder.stacked, tensors, source)
    try:
        return tokenizer_on_meta(config)
    except (AnymodalError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{source} describes no possible tokenizer: {one_line(error, 300)}") from None


@attrs.frozen
class Deferred:
    """Loads the tokenizer of a modality from a folder, a single file or a repository; `size` ids are expected.

    `precision` is that of its products, see `anymodal.nn.precision`.
    """

    modality: str
    place: str
    size: int | None
    access: Access
    load: Loader
    precision: Precision = "float32"

    def __call__(self) -> Any:
        try:
            tokenizer = self.load(self.place, self.access)
        except CheckpointError as error:
            hint = f"to load one of your own, pass tokenizers={{{self.modality!r}: PATH}}"
            raise CheckpointError(f"the tokenizer of {self.modality!r}: {error}; {hint}") from error
        found = tokenizer.config.quantizer.size
        if self.size not in (None, found):
            raise CheckpointError(
                f"the tokenizer {self.place} has {found} ids, the model needs {self.size} for {self.modality!r}"
            )
        tokenizer.precision = self.precision
        return tokenizer


def compute_in(precision: Precision, modality: Modality) -> None:
    """Choose the precision of a modality's tokenizer, if it has one of ours, now or when it is loaded."""
    if isinstance(modality.pending, Deferred):
        modality.pending = attrs.evolve(modality.pending, precision=precision)
    elif modality.pending is None and isinstance(modality.tokenizer, Tokenizer):
        modality.tokenizer.precision = precision


def defer(modality: Modality, place: str | None, access: Access, load: Loader) -> None:
    """Let a modality load its tokenizer from `place` when it first needs it; nothing if there is no place."""
    if place is not None:
        space = next((s.space for s in modality.streams() if s.name == modality.name), None)
        size = space.size if isinstance(space, TokenSpace) and not space.is_sequence else None
        modality.pending = Deferred(modality.name, place, size, access, load)


def place_of(
    name: str,
    repository: str | None,
    given: Mapping[str, str | Path] | str | Path | None,
    beside: Path | None = None,
    *,
    held: bool = False,
) -> str | None:
    """Where the tokenizer of a modality is: as `given` says, in the folder `beside` a model, or on the Hub.

    Args:
        name: the modality.
        repository: the repository on the Hub that has it, if there is one.
        given: a folder, file or repository by the name of the modality; or a folder with one folder each, named like
            the modality or like the repository. The environment variable ANYMODAL_TOKENIZERS names such a folder too.
        beside: such a folder as well, of the model itself.
        held: whether the model has a tokenizer of its own, in whose place only a given one is taken.

    Returns:
        A path or the name of a repository, or None if there is neither.
    """
    if isinstance(given, Mapping):
        if name in given:
            return str(given[name])
        given = None
    folders = [Path(folder) for folder in (given, beside, None if held else os.environ.get(PLACES)) if folder]
    for folder in folders:
        for part in filter(None, (name, (repository or "").rpartition("/")[2])):
            if Folder(folder).find(f"{part}/{CONFIG}"):
                return str(folder / part)
    return repository


def remote_place(modality: Modality) -> str | None:
    """The repository of a tokenizer that was not needed yet and lies on no disk here but in the Hub's cache, or None.

    Checkpoints name such a tokenizer, the others are written.
    """
    pending = modality.pending
    return pending.place if isinstance(pending, Deferred) and not Path(pending.place).exists() else None
