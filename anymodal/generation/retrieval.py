"""Vectors for retrieval: what a model expects in one pass, or draws as 4M-21 does (arXiv 2406.09406).

The expected vector is decoded from the mean codes under all of the model's probabilities. With `tiny` it finds scenes
clearly more often than one draw from photographs and classes, and not from edges; see
docs/how-to/search-by-any-modality.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anymodal.errors import GenerationError, brief
from anymodal.modality import Modality
from anymodal.sampling import SCHEMES, SamplingOptions
from anymodal.sampling.spelling import parsed
from anymodal.tokens import ModalitySet

EXPECTED: SamplingOptions = {"scheme": "mean", "temperature": 1.0, "top_k": 0, "top_p": 0.0, "guidance": 1.0}
DRAWN: SamplingOptions = {"scheme": "roar", "steps": 1, "temperature": 0.1, "top_p": 0.8, "guidance": 1.0}


def retrieval_options(modalities: ModalitySet, to: str, options: SamplingOptions) -> SamplingOptions:
    """How vectors of a modality are predicted, with options of the caller's own on top.

    The expected vector, unless the modality has no mean of codes, or a scheme or steps are asked for, or several draws.
    Raises GenerationError where `to` is no name, UnknownModality where there is none of that name, ConfigError for a
    scheme that there is not.
    """
    if not isinstance(to, str):
        raise GenerationError(f"embed predicts one modality, by its name, got {brief(to)}")
    expects = type(modalities[to]).expect is not Modality.expect
    scheme = parsed(options.get("scheme", "mean"), SCHEMES)
    draws = "steps" in options or scheme.name != "mean" or options.get("samples", 1) != 1
    return (EXPECTED if expects and not draws else DRAWN) | options


def stacked_vectors(values: Sequence[Any], modality: Modality, normalize: bool) -> np.ndarray:
    """Values of a modality as (samples, channels) float32, scaled to length 1 if asked.

    Raises GenerationError where they are not vectors.
    """
    vectors = [np.asarray(value) for value in values]
    if any(v.ndim != 1 or v.dtype.kind != "f" for v in vectors):
        raise GenerationError(f"{modality.name!r} is not a vector: embed predicts modalities such as dinov2_global")
    none = np.zeros((0, getattr(modality, "channels", 0)), np.float32)
    stacked = np.stack(vectors).astype(np.float32) if vectors else none
    return stacked / np.maximum(np.linalg.norm(stacked, axis=-1, keepdims=True), 1e-12) if normalize else stacked
