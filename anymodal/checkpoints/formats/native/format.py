"""Our own format in the table of formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.checkpoints.formats.native.layout import FORMAT, is_model, is_tokenizer
from anymodal.checkpoints.repository import Files

if TYPE_CHECKING:
    from anymodal.checkpoints.deferred import AnyTokenizer
    from anymodal.checkpoints.formats.base import Options
    from anymodal.checkpoints.raw_config import RawConfig
    from anymodal.checkpoints.record import Bundle
    from anymodal.model import ModelConfig


class Native:
    """Checkpoints of our own."""

    name = FORMAT
    title = "an anymodal checkpoint"

    def presets(self) -> Mapping[str, str]:
        """None: those of installed packages are folders, which the registry knows."""
        return {}

    def recognizes_model(self, config: Mapping[str, Any]) -> bool:
        return is_model(config)

    def recognizes_tokenizer(self, config: Mapping[str, Any]) -> bool:
        return is_tokenizer(config)

    def model_config(self, config: RawConfig) -> ModelConfig:
        from anymodal.checkpoints.formats.native.read import parse_checkpoint_config

        return parse_checkpoint_config(config).model

    def load(self, files: Files, config: RawConfig, options: Options) -> Bundle:
        from anymodal.checkpoints.formats.native.read import load

        return load(files, config, options)

    def save(self, bundle: Bundle, target: Path) -> list[str]:
        from anymodal.checkpoints.deferred import remote_place
        from anymodal.checkpoints.formats.native.write import save

        save(bundle, target)
        later = [modality.name for modality in bundle.modalities if remote_place(modality) is not None]
        if not later:
            return []
        return [f"the tokenizers of {', '.join(later)} are named, not copied; they load from the Hub when first needed"]

    def load_tokenizer(self, files: Files, config: RawConfig) -> AnyTokenizer:
        from anymodal.checkpoints.formats.native.tokenizer import read_native_tokenizer

        return read_native_tokenizer(files)

    def save_tokenizer(self, tokenizer: AnyTokenizer, target: Path) -> None:
        from anymodal.checkpoints.formats.native.tokenizer import save_native_tokenizer

        save_native_tokenizer(tokenizer, target)
