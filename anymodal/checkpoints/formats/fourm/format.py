"""The published 4M format in the table of formats (4M, arXiv 2312.06647; 4M-21, arXiv 2406.09406)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.checkpoints.formats.fourm.layout import MODEL, is_model, is_tokenizer
from anymodal.checkpoints.repository import Files

if TYPE_CHECKING:
    from anymodal.checkpoints.deferred import AnyTokenizer
    from anymodal.checkpoints.formats.base import Options
    from anymodal.checkpoints.raw_config import RawConfig
    from anymodal.checkpoints.record import Bundle
    from anymodal.model import ModelConfig

PUBLISHED = {
    "4m-7-b": "EPFL-VILAB/4M-7_B_CC12M",
    "4m-7-l": "EPFL-VILAB/4M-7_L_CC12M",
    "4m-7-xl": "EPFL-VILAB/4M-7_XL_CC12M",
    "4m-7-b-coyo": "EPFL-VILAB/4M-7_B_COYO700M",
    "4m-7-l-coyo": "EPFL-VILAB/4M-7_L_COYO700M",
    "4m-7-xl-coyo": "EPFL-VILAB/4M-7_XL_COYO700M",
    "4m-7-t2i-b": "EPFL-VILAB/4M-7-T2I_B_CC12M",
    "4m-7-t2i-l": "EPFL-VILAB/4M-7-T2I_L_CC12M",
    "4m-7-t2i-xl": "EPFL-VILAB/4M-7-T2I_XL_CC12M",
    "4m-7-sr-l": "EPFL-VILAB/4M-7-SR_L_CC12M",
    "4m-21-b": "EPFL-VILAB/4M-21_B",
    "4m-21-l": "EPFL-VILAB/4M-21_L",
    "4m-21-xl": "EPFL-VILAB/4M-21_XL",
}


class FourM:
    """Models and tokenizers as 4M published them: a folder, or a single file whose header holds the config."""

    name = "fourm"
    title = MODEL.title

    def presets(self) -> Mapping[str, str]:
        return PUBLISHED

    def recognizes_model(self, config: Mapping[str, Any]) -> bool:
        return is_model(config)

    def recognizes_tokenizer(self, config: Mapping[str, Any]) -> bool:
        return is_tokenizer(config)

    def model_config(self, config: RawConfig) -> ModelConfig:
        from anymodal.checkpoints.formats.fourm.config import parse_model_config

        return parse_model_config(config.values, config.source)[0]

    def load(self, files: Files, config: RawConfig, options: Options) -> Bundle:
        from anymodal.checkpoints.formats.fourm.read import load_published_model

        return load_published_model(files, config, options)

    def save(self, bundle: Bundle, target: Path) -> list[str]:
        from anymodal.checkpoints.formats.fourm.write import save_published_model
        from anymodal.checkpoints.formats.native.write import check_weights

        check_weights(bundle)
        return save_published_model(bundle, target)

    def load_tokenizer(self, files: Files, config: RawConfig) -> AnyTokenizer:
        from anymodal.checkpoints.formats.fourm.tokenizers import read_published_tokenizer

        return read_published_tokenizer(files, config)

    def save_tokenizer(self, tokenizer: AnyTokenizer, target: Path) -> None:
        from anymodal.checkpoints.formats.fourm.tokenizers import save_published_tokenizer

        save_published_tokenizer(tokenizer, target)
