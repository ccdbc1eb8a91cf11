"""How far generated pictures are from true ones as two clouds of features, and from what was asked for."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from anymodal.errors import ValueProblem
from anymodal.evaluation.metrics import Means, Metric

Extractor = Callable[[Sequence[np.ndarray]], np.ndarray]


@attrs.define
class Moments:
    """Sums of features (n, d) in double precision, around the first of them so that nothing cancels."""

    count: int = 0
    origin: np.ndarray = attrs.field(factory=lambda: np.zeros(0))
    total: np.ndarray = attrs.field(factory=lambda: np.zeros(0))
    products: np.ndarray = attrs.field(factory=lambda: np.zeros((0, 0)))

    def add(self, features: np.ndarray) -> None:
        """Add features (n, d)."""
        values = np.asarray(features, np.float64)
        if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
            raise ValueProblem(f"an extractor gives finite features (pictures, channels), got {values.shape}")
        if not self.count:
            self.origin, width = values[0].copy(), values.shape[1]
            self.total, self.products = np.zeros(width), np.zeros((width, width))
        if values.shape[1] != len(self.origin):
            raise ValueProblem(f"features had {len(self.origin)} channels, and now {values.shape[1]}")
        moved = values - self.origin
        self.count += len(values)
        self.total += moved.sum(0)
        self.products += moved.T @ moved

    def merge(self, other: Moments) -> None:
        """Add the sums of another one."""
        if not self.count:
            self.count, self.origin = other.count, other.origin
            self.total, self.products = other.total.copy(), other.products.copy()
        elif other.count:
            shift = other.origin - self.origin
            crossed = np.outer(other.total, shift)
            self.products += other.products + crossed + crossed.T + other.count * np.outer(shift, shift)
            self.total += other.total + other.count * shift
            self.count += other.count

    @property
    def mean(self) -> np.ndarray:
        return self.origin + self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """Of the sample: divided by one less than the count."""
        mean = self.total / self.count
        return (self.products - self.count * np.outer(mean, mean)) / (self.count - 1)

    def state(self) -> dict[str, Any]:
        parts = {name: _text(getattr(self, name)) for name in ("origin", "total", "products")}
        return {"count": self.count, **parts}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Moments:
        origin, total = _numbers(state["origin"]), _numbers(state["total"])
        return cls(int(state["count"]), origin, total, _numbers(state["products"]).reshape(len(total), len(total)))


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f8").tobytes()).decode()


def _numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8").astype(np.float64)


def frechet_distance(a: Moments, b: Moments) -> float:
    """The distance of two Gaussians with these moments (Frechet; Heusel et al. 2017, arXiv 1706.08500).

    |m - n|^2 + tr(A + B - 2 (A B)^1/2). The last trace is the sum of the singular values of A^1/2 B^1/2, which needs no
    root of a matrix that is not symmetric, and is right where covariances have no full rank.
    """
    roots = []
    for each in (a, b):
        values, vectors = np.linalg.eigh(each.covariance)
        roots.append((vectors * np.sqrt(values.clip(0))) @ vectors.T)
    shared = np.linalg.svd(roots[0] @ roots[1], compute_uv=False).sum()
    gap = a.mean - b.mean
    return max(0.0, float(gap @ gap + np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared))


@attrs.frozen(eq=False)
class Judged:
    """A generated picture (H, W, 3) uint8, and how much it agrees with what was asked for, a cosine."""

    picture: np.ndarray
    agreement: float


class PictureQuality(Metric):
    """`fid`, the Frechet distance of the features of generated and true pictures, and the mean `agreement`.

    Few pictures make the distance too large, by more the fewer they are and the more channels the features have; the
    bound beside it has the same bias.
    """

    def __init__(self, extractor: Extractor) -> None:
        """`extractor` turns pictures (H, W, 3) uint8 into features (pictures, channels)."""
        self.extractor = extractor
        self.true, self.made, self.means = Moments(), Moments(), Means()

    def update(self, prediction: Any, truth: Any) -> float | None:
        return self.update_all([prediction], [truth])[0]

    def update_all(self, predictions: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        """Pictures or `Judged`, and true pictures; the own score is the agreement, else that of the features."""
        pictures = [p.picture if isinstance(p, Judged) else p for p in predictions]
        # In half precision the squares of a distance would leave the range of numbers.
        made, true = (np.asarray(self.extractor(each), np.float64) for each in (pictures, list(truths)))
        self.made.add(made)
        self.true.add(true)
        own: list[float | None] = []
        for k, prediction in enumerate(predictions):
            if isinstance(prediction, Judged):
                self.means.add("agreement", prediction.agreement)
                own.append(prediction.agreement)
            else:
                own.append(-float(np.linalg.norm(made[k] - true[k])))
        return own

    def compute(self) -> dict[str, float]:
        if self.made.count < 2:
            return {}
        return {"fid": frechet_distance(self.made, self.true), **{name: self.means[name] for name in self.means}}

    def state(self) -> dict[str, Any]:
        return {"made": self.made.state(), "true": self.true.state(), "means": self.means.state()}

    def merge(self, state: Mapping[str, Any]) -> None:
        self.made.merge(Moments.of(state["made"]))
        self.true.merge(Moments.of(state["true"]))
        self.means.merge(state["means"])
