"""Vectors for retrieval, as 4M-21 draws them (arXiv 2406.09406): all tokens in one step, at a low temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anymodal.errors import GenerationError
from anymodal.sampling import SamplingOptions

RETRIEVAL: SamplingOptions = {"scheme": "roar", "steps": 1, "temperature": 0.1, "top_p": 0.8, "guidance": 1.0}


def stacked_vectors(values: Sequence[Any], name: str, normalize: bool) -> np.ndarray:
    """Values of the modality `name` as (samples, channels) float32, scaled to length 1 if asked.

    Raises GenerationError where they are not vectors.
    """
    vectors = [np.asarray(value) for value in values]
    if any(v.ndim != 1 or v.dtype.kind != "f" for v in vectors):
        raise GenerationError(f"{name!r} is not a vector: embed predicts modalities such as dinov2_global")
    stacked = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
    return stacked / np.maximum(np.linalg.norm(stacked, axis=-1, keepdims=True), 1e-12) if normalize else stacked
