"""The configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from anymodal.checkpoint import ModalityRecord, load_modality
from anymodal.files import read_json
from anymodal.masking import MaskingConfig
from anymodal.model import ModelConfig
from anymodal.remote import Folder
from anymodal.text import Vocabulary
from anymodal.tokens import ModalitySet
from anymodal.training.settings import TrainingSettings


@attrs.frozen(kw_only=True)
class TrainConfig:
    """A training run.

    `modalities` maps names to numbers, in the order in which the model will generate them. `tokenizers` is a folder
    with modalities/NAME and vocabulary.json as `anymodal train-tokenizer` writes them; the numbers of a tokenizer found
    there hold where none are given. `data` is a tokenised dataset. `stream_weights` scales single streams in the loss,
    which is otherwise the mean over the streams present in a batch. `sampling` holds sampling options by modality that
    the checkpoint will use by default, for 'grounded' and 'free' generation.
    """

    modalities: dict[str, dict[str, Any]]
    tokenizers: Path
    data: Path
    model: ModelConfig
    masking: MaskingConfig
    training: TrainingSettings
    stream_weights: dict[str, float] = attrs.field(factory=dict)
    sampling: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    workers: int = 0


def build_set(
    modalities: dict[str, dict[str, Any]],
    tokenizers: Path,
    sampling: dict[str, dict[str, dict[str, Any]]] | None = None,
) -> ModalitySet:
    """The modalities with the tokenizers and the vocabulary of a folder."""
    path = tokenizers / "vocabulary.json"
    vocabulary = Vocabulary.load(path) if path.exists() else None
    members = []
    for name, numbers in modalities.items():
        config = tokenizers / "modalities" / name / "config.json"
        known = read_json(config)["numbers"] if config.exists() else {}
        members.append(
            load_modality(
                name,
                ModalityRecord(numbers={**known, **(numbers or {})}, sampling=(sampling or {}).get(name, {})),
                Folder(tokenizers),
            )
        )
    return ModalitySet(members, vocabulary)
