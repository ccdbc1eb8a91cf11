"""What a model predicts from a modality, moved to where an index has what was meant: learned from pairs.

Vectors that are predicted from little, such as edges, lie together, away from those of photographs, and stress other
directions. An affine map, found by ridge regression of what the identity leaves over, takes both back. How much of it
is learned is decided by the errors of samples that are left out one at a time (the PRESS of Allen, 1974), so that few
pairs move little more than the mean.

Shapes: N pairs, D channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import attrs
import numpy as np

from anymodal.data.store.arrays import Spec, map_arrays, write_arrays
from anymodal.errors import ValueProblem, brief
from anymodal.retrieval.record import MOST_CALIBRATED
from anymodal.retrieval.shards import unit

LEAST_PAIRS = 20
ENOUGH_PAIRS = 500  # from which on all queries that were tried found more on average (`python -m benchmarks pairs`)
RIDGES = 10.0 ** np.arange(-4, 3.5, 0.5)  # by the mean of squared singular values


@attrs.frozen(eq=False)
class Calibration:
    """The map q -> `vector` + (q - `query`) `weights`: float64 (D,), (D,) and (D, D)."""

    query: np.ndarray
    vector: np.ndarray
    weights: np.ndarray

    @property
    def file_name(self) -> str:
        """Another name for other numbers, so that readers go on with the file that they know of."""
        content = hashlib.sha256(b"".join(part.tobytes() for part in (self.query, self.vector, self.weights)))
        return f"{content.hexdigest()[:16]}.safetensors"

    @cached_property
    def finite(self) -> bool:
        """Whether it holds numbers alone."""
        return all(bool(np.isfinite(part).all()) for part in (self.query, self.vector, self.weights))

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """Queries (N, D) of length 1, moved: (N, D) of length 1, float32."""
        return unit(self.vector + (queries.astype(np.float64) - self.query) @ self.weights, "calibrated queries")


def learned(queries: np.ndarray, vectors: np.ndarray) -> Calibration:
    """The map from predicted vectors (N, D) to those that they should be (N, D), both of length 1.

    Raises ValueProblem for other shapes, fewer than `LEAST_PAIRS`, or more channels than `MOST_CALIBRATED`.
    """
    if queries.shape != vectors.shape or len(queries) < LEAST_PAIRS or queries.shape[1] > MOST_CALIBRATED:
        raise ValueProblem(
            f"a calibration needs at least {LEAST_PAIRS} pairs of vectors of up to {MOST_CALIBRATED} channels, got"
            f" {queries.shape} and {vectors.shape}"
        )
    query, vector = (each.mean(0, dtype=np.float64) for each in (queries, vectors))
    centered = queries - query
    left, sizes, right = np.linalg.svd(centered, full_matrices=False)
    beyond = vectors - vector - centered
    known = left.T @ beyond
    powers = sizes**2
    ridges = RIDGES * powers.mean() + np.finfo(float).tiny
    errors = [_left_out(left, powers / (powers + ridge), known, beyond) for ridge in ridges]
    ridge = ridges[int(np.argmin(errors))]
    return Calibration(query, vector, np.eye(len(query)) + right.T @ ((sizes / (powers + ridge))[:, None] * known))


def _left_out(left: np.ndarray, kept: np.ndarray, known: np.ndarray, beyond: np.ndarray) -> float:
    """The mean squared error of each sample by the regression on all others."""
    leverage = (left**2 * kept).sum(1) + 1 / len(left)
    errors = (beyond - left @ (kept[:, None] * known)) / np.maximum(1 - leverage, 1e-6)[:, None]
    return float((errors**2).mean())


def asked_by(names: Iterable[str]) -> str:
    """How queries by modalities together are called: "caption+depth", whatever their order.

    Raises ValueProblem for what is no list of names.
    """
    known = set() if isinstance(names, str) or not isinstance(names, Iterable) else set(names)
    if not known or not all(isinstance(name, str) for name in known):
        raise ValueProblem(f"queries are by a list of modalities such as ['caption'], got {brief(names)}")
    return "+".join(sorted(known))


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a map, whole or not at all. Raises DataError."""
    write_arrays(attrs.asdict(calibration, recurse=False), path)


def map_calibration(path: Path, size: int, channels: int) -> Calibration:
    """The map in a file, of which only what is used is read. Raises DataError for one that is missing or damaged."""
    shapes = {"query": (channels,), "vector": (channels,), "weights": (channels, channels)}
    return Calibration(**map_arrays(path, size, {name: Spec("<f8", shape) for name, shape in shapes.items()}))
