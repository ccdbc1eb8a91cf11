"""The batches of a run that trains a model, from its configuration."""

from __future__ import annotations

from anymodal.data.batches import MaskedBatches, MixtureEntry
from anymodal.data.mixture import Mixture
from anymodal.data.order import Share
from anymodal.data.sources.open import open_source
from anymodal.errors import DataError
from anymodal.masking import Masker
from anymodal.tokens import ModalitySet
from anymodal.training.multimodal.config import TrainConfig


def open_batches(
    config: TrainConfig,
    modalities: ModalitySet,
    share: Share = Share(),  # noqa: B008
    *,
    complete: bool = True,
) -> MaskedBatches:
    """The batches of a run.

    Args:
        config: its datasets, masking, batch size and seed.
        modalities: what is trained.
        share: the part of each step that this process makes.
        complete: whether every stream has to be in one of the datasets.

    Returns:
        Batches by number of the step and part.

    Raises:
        DataError: the datasets do not fit the modalities, or together lack a stream.
        ConfigError: the configuration names what is not in the set.
    """
    seed, layout = config.training.seed, modalities.layout
    masker = Masker(layout, config.masking)
    entries = []
    for number, data in enumerate(config.data):
        source = open_source(data, modalities)
        own = None if data.masking is None else Masker(layout, data.masking)
        entries.append(MixtureEntry(data.path, source, source.order(seed + number), own or masker, own is not None))
    for stream in layout.streams if complete else ():
        if not any(stream.name in entry.source.streams for entry in entries):
            paths = " and ".join(entry.path for entry in entries)
            raise DataError(f"{paths} has no stream {stream.name!r}; add it to the data, or leave it out of the set")
    return MaskedBatches(
        entries, Mixture([d.weight for d in config.data], seed), config.training.batch_size, seed, share
    )
