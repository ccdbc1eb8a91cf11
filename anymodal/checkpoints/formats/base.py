"""What a format of checkpoints is, and what formats need for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from anymodal.checkpoints.repository import Access, Files
from anymodal.config.validators import one_of
from anymodal.errors import ConfigError, UnknownModality, nearest

if TYPE_CHECKING:
    import torch

    from anymodal.checkpoints.deferred import AnyTokenizer, Loader
    from anymodal.checkpoints.raw_config import RawConfig
    from anymodal.checkpoints.record import Bundle
    from anymodal.model import ModelConfig


BACKENDS = ("torch", "onnx")


def _as_names(names: str | Iterable[str] | None) -> list[str] | None:
    return None if names is None else [names] if isinstance(names, str) else list(names)


@attrs.frozen(kw_only=True)
class Options:
    """How to load a model; see `anymodal.load`.

    Attributes:
        modalities: those to load; None for all.
        complete: whether a modality without a plugin is an error even where it is not named.
        dtype: of the Transformer's weights.
        precision: of products in generation (`anymodal.nn.precision`).
        access: how to reach the Hub.
        tokenizers: where tokenizers are that are not in the checkpoint.
        vocabulary: the path of a text tokenizer that is not in the checkpoint.
        backend: what runs the model; None for what its files are made for.
        load_tokenizer: loads a tokenizer of whatever format from a place, when it is first needed.
    """

    modalities: list[str] | None = attrs.field(default=None, converter=_as_names)
    complete: bool = False
    dtype: str | torch.dtype = "float32"
    precision: Literal["auto", "bfloat16", "float32"] = attrs.field(
        default="float32", validator=one_of("auto", "bfloat16", "float32")
    )
    access: Access = attrs.field(factory=Access)
    tokenizers: Mapping[str, str | Path] | str | Path | None = None
    vocabulary: str | Path | None = None
    backend: str | None = attrs.field(default=None, validator=attrs.validators.optional(one_of(*BACKENDS)))
    load_tokenizer: Loader


class Format(Protocol):
    """A way to keep models and tokenizers in files.

    To add one, write a class with these members and put an instance into `FORMATS`. The modules that need torch are
    imported in its methods, so that the table itself costs nothing.
    """

    @property
    def name(self) -> str:
        """A short name, as `anymodal convert --to` takes it."""

    @property
    def title(self) -> str:
        """What a checkpoint of the format is called in a sentence, such as "a published 4M model"."""

    def presets(self) -> Mapping[str, str]:
        """Repositories on the Hub by short names, as `anymodal.load` takes them."""

    def recognizes_model(self, config: Mapping[str, Any]) -> bool:
        """Whether a config, of unknown origin, is of a model in this format."""

    def recognizes_tokenizer(self, config: Mapping[str, Any]) -> bool:
        """Whether a config, of unknown origin, is of a tokenizer in this format."""

    def model_config(self, config: RawConfig) -> ModelConfig:
        """The numbers of the Transformer of a model with that config. Raises CheckpointError."""

    def load(self, files: Files, config: RawConfig, options: Options) -> Bundle:
        """The model in `files`, on the CPU. Raises CheckpointError or UnknownModality."""

    def save(self, bundle: Bundle, target: Path) -> list[str]:
        """Write a model, whole or not at all, and return notes on what was left out.

        Raises CheckpointError for what the format cannot hold, DataError if `target` cannot be written.
        """

    def load_tokenizer(self, files: Files, config: RawConfig) -> AnyTokenizer:
        """The tokenizer in `files`; float32, on the CPU, in evaluation mode. Raises CheckpointError."""

    def save_tokenizer(self, tokenizer: AnyTokenizer, target: Path) -> None:
        """Write a tokenizer. Raises as `save` does."""


def chosen_modalities(wanted: Iterable[str] | None, known: Iterable[str], source: str) -> list[str]:
    """The names asked for (default: all). Raises UnknownModality for one that the checkpoint does not have."""
    names = list(known)
    chosen = _as_names(wanted)
    for name in chosen or ():
        if name not in names:
            raise UnknownModality(
                f"{source} has no modality {name!r}{nearest(name, names)} (it has: {', '.join(names)})"
            )
    if chosen is not None and not chosen:
        raise ConfigError("modalities is empty; name at least one, or leave it out for all")
    return names if chosen is None else chosen
