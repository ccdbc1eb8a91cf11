"""What a checkpoint or a training gives to a modality, and where to get it when it is missing."""

from __future__ import annotations

from typing import Any

from anymodal.errors import CheckpointError
from anymodal.modality import Modality


def tokenizer_of(modality: Modality) -> Any:
    """The tokenizer of a modality. Raises CheckpointError without one."""
    return _there(modality, "tokenizer", modality.tokenizer, "")


def vocabulary_of(modality: Modality) -> Any:
    """The vocabulary of a modality. Raises CheckpointError without one."""
    return _there(modality, "vocabulary", modality.vocabulary, " and `vocabulary: {size: 5000}`")


def _there(modality: Modality, what: str, found: Any, how: str) -> Any:
    if found is None:
        raise CheckpointError(
            f"{modality.name} has no {what}; load a checkpoint that has one, or train one with"
            f" `anymodal train-tokenizer`{how} in the folder that `tokenizers` names"
        )
    return found
