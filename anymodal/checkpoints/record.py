"""What a checkpoint holds: in memory a bundle, on disk the content of config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from anymodal.config.validators import a
from anymodal.errors import ConfigError
from anymodal.model import ModelConfig, Transformer
from anymodal.sampling.options import check_situations
from anymodal.tokens import ModalitySet


@attrs.frozen(kw_only=True)
class About:
    """What a model card says beyond what the model knows: plain text, data sets, an SPDX license such as apache-2.0."""

    description: str = attrs.field(default="", validator=a(str, "text"))
    training_data: str = attrs.field(default="", validator=a(str, "text"))
    license: str = attrs.field(default="", validator=a(str, "text"))

    def __attrs_post_init__(self) -> None:
        if any(c.isspace() for c in self.license):
            raise ConfigError(f"license is an identifier without spaces, such as apache-2.0, got {self.license!r}")


@attrs.frozen(eq=False)
class Bundle:
    """A model as it is loaded and saved: the modalities with their tokenizers, the Transformer over them, and words.

    `commit` is that of the repository on the Hub that it was loaded from. `chain` says by default whether targets are
    made one from another, 'grounded' (with a photographic input) and 'free'; they are where it says nothing.
    """

    modalities: ModalitySet
    transformer: Transformer
    about: About = attrs.field(factory=About, validator=a(About, "an anymodal.About"))
    commit: str | None = None
    chain: Mapping[str, bool] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ModalityRecord:
    """What a checkpoint says of one modality: who provided it, its settings, and the streams it has in the model.

    `position_rows` are rows of the position table that go beyond what a stream needs. `sampling` holds the sampling
    options that suit the model, 'grounded' (with a photographic input) and 'free'. `calibration` holds temperatures at
    which the model is as sure as it may be, of 'ids' and 'classes'. `tokenizer` names the repository of
    one that the checkpoint does not hold; `members` are modalities that share the stream. `made` holds the facts, by
    name, of those among it and its members that were made in place (`anymodal.families.in_place`).
    """

    distribution: str | None = None
    version: str | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    streams: list[dict[str, Any]] = attrs.field(factory=list)
    position_rows: dict[str, int] = attrs.field(factory=dict)
    sampling: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    calibration: dict[str, float] = attrs.field(factory=dict)
    tokenizer: str | None = None
    members: tuple[str, ...] = ()
    made: dict[str, dict[str, Any]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """The content of the config.json of a checkpoint of our own; `chain` is as in `Bundle`."""

    format: str
    format_version: int
    model: ModelConfig
    modalities: dict[str, ModalityRecord]
    description: str = ""
    training_data: str = ""
    license: str = ""
    chain: dict[str, bool] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        check_situations("chain", self.chain)
