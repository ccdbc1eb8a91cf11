"""The layouts of datasets, and which of them a path has.

A layout is added by a class derived from `DataLayout`, with `DATA_LAYOUTS.add`, or by an entry point in the group
"anymodal.data_layouts". The one that was added last is asked first, so that layouts of your own come before ours.
"""

from __future__ import annotations

from anymodal.config.tables import SettingsTable
from anymodal.data.config import DataConfig
from anymodal.data.files.layout import usable
from anymodal.data.sources.aligned_layout import AlignedFiles
from anymodal.data.sources.base import DataLayout, Source
from anymodal.data.sources.huggingface import HuggingFaceRows
from anymodal.data.sources.tokenized import TokenizedDataset
from anymodal.errors import ConfigError, nearest
from anymodal.tokens import ModalitySet

DATA_LAYOUTS = SettingsTable(DataLayout, "data layout")  # type: ignore[type-abstract]
DATA_LAYOUTS.add(AlignedFiles)
DATA_LAYOUTS.add(TokenizedDataset)
DATA_LAYOUTS.add(HuggingFaceRows)


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
    return layout_of_dataset(config.path).open(config, chosen, modalities.layout)


def layout_of_dataset(path: str) -> DataLayout:
    """The layout of the dataset at a path or an address."""
    return next(layout for layout in usable(DATA_LAYOUTS) if layout.recognizes(path))
