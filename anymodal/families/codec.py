"""Arrays through the tokenizer of a modality, to ids and back: one batch, on the device where the tokenizer lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anymodal.families.ready import tokenizer_of
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

MOST_CODEBOOKS = 1024
MOST_WIDTH = 2**16  # numbers of a vector, a code or a pixel


def encoded(modality: Modality, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Ids (N,) int64 of each of several tensors of one shape. Raises CheckpointError without a tokenizer."""
    tokenizer = tokenizer_of(modality)
    return list(tokenizer.encode(_batch(tokenizer, tensors)).cpu().numpy())


def decoded(modality: Modality, ids: Sequence[np.ndarray], **options: Any) -> list[np.ndarray]:
    """The float32 output for each of several ids (N,); `options` as the tokenizer has. Raises as `encoded`."""
    tokenizer = tokenizer_of(modality)
    return list(tokenizer.decode(_batch(tokenizer, ids), **options).float().cpu().numpy())


def decoded_mean(modality: Modality, shares: Sequence[np.ndarray], **options: Any) -> list[np.ndarray]:
    """The float32 output of the mean codes under each of several probabilities (N, K). Raises as `encoded`."""
    tokenizer = tokenizer_of(modality)
    return list(tokenizer.decode_mean(_batch(tokenizer, shares), **options).float().cpu().numpy())


def _batch(tokenizer: Any, arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).to(next(tokenizer.parameters()).device)
