"""The layouts of datasets, and which of them a path is."""

from __future__ import annotations

from anymodal.data.config import DataConfig
from anymodal.data.sources.aligned_layout import AlignedFiles
from anymodal.data.sources.base import DataLayout, Source
from anymodal.data.sources.huggingface import HuggingFaceRows
from anymodal.data.sources.tokenized import TokenizedDataset
from anymodal.errors import ConfigError, nearest
from anymodal.tokens import ModalitySet

# The one that was added last is asked first, so that a layout of your own comes before these.
DATA_LAYOUTS: dict[str, DataLayout] = {"files": AlignedFiles(), "tokens": TokenizedDataset(), "rows": HuggingFaceRows()}


def open_source(config: DataConfig, modalities: ModalitySet) -> Source:
    """The samples of a dataset, as tokens by index.

    Args:
        config: where it lies, and what is used of it.
        modalities: the set that is trained; those that `config` leaves out are not read.

    Returns:
        The source of the layout that the path has.

    Raises:
        ConfigError: the configuration asks for a modality that is not in the set, or for what the layout has not.
        DataError: the dataset cannot be opened, or does not fit the modalities.
    """
    for name in config.modalities:
        if name not in modalities:
            raise ConfigError(
                f"{config.path} asks for the modality {name!r}, which is not in the set"
                f"{nearest(name, modalities.modalities)}"
            )
    chosen = {m.name: m for m in modalities if not config.modalities or m.name in config.modalities}
    return DATA_LAYOUTS[kind_of_dataset(config.path)].open(config, chosen, modalities.layout)


def kind_of_dataset(path: str) -> str:
    """The layout of the dataset at a path or an address, by its name in the table."""
    return next(name for name, layout in reversed(DATA_LAYOUTS.items()) if layout.recognizes(path))
