"""Heads on frozen features, of which a table holds all: nearest neighbors, linear, attentive.

A head is a frozen attrs class with its own options. It learns from features and targets of samples, and chooses what it
can by cross-validation over these alone. Shapes: n rows, N tokens a sample, D width, C numbers of a target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import at_least, between, integer, real
from anymodal.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

FOLDS = 3
Predict = Callable[["np.ndarray"], "np.ndarray"]


def _positive(value: Any) -> tuple[float, ...]:
    numbers = tuple(real(each) for each in (value if isinstance(value, (list, tuple)) else [value]))
    if not numbers or not all(1e-30 < number < 1e30 for number in numbers):
        raise ConfigError(f"expected numbers above 0 that are finite, got {value!r:.80}")
    return numbers


def _whole(value: Any) -> tuple[int, ...]:
    return tuple(integer(each) for each in _positive(value))


@attrs.frozen
class Head(ABC):
    """What learns from features. Add your own: a frozen attrs class under ``@HEADS.add``.

    `reads`: "vectors" (n, D), one a sample or a cell of a map, or "tokens" (n, N, D), all of a sample, zero where there
    is none.
    """

    name: str = attrs.field(init=False)
    reads: ClassVar[str] = "vectors"

    @abstractmethod
    def classes(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        """Learn labels (n,) int64; rows of one group (n,) are never on both sides of a split. Predicts labels."""

    def numbers(self, features: np.ndarray, targets: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        """Learn targets (n, C) float. Predicts such. Raises ConfigError where a head learns classes alone."""
        raise ConfigError(f"the head {self.name!r} learns classes alone; choose another one for numbers")


# Of rows of length 1 the square of the distance is twice that by cosine, which scikit-learn computes slower.
NEARNESS = {"metric": "sqeuclidean", "weights": "distance", "algorithm": "brute"}

HEADS: SettingsTable[Head] = SettingsTable(Head, "probe head", default="linear")  # type: ignore[type-abstract]


def no_cells(name: str, able: Iterable[str]) -> ConfigError:
    """The error of a modality whose values have no cells to be read off a map; `able` are some that have."""
    return ConfigError(f"{name!r} is no grid, whose cells could be read off features; such are {', '.join(able)}")


def require_sklearn() -> None:
    """Raise ConfigError without scikit-learn."""
    if find_spec("sklearn") is None:
        raise ConfigError("probes need scikit-learn: pip install 'anymodal[probe]'")


def _parts(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold that are learned from, and those that are tried; none where there is one group."""
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(groups)))
    return list(GroupKFold(folds).split(groups, groups=groups)) if folds > 1 else []


def _searched(
    model: Any, name: str, values: tuple[Any, ...], x: np.ndarray, y: np.ndarray, parts: Any, *before: Any
) -> Any:
    """A pipeline of standardized features, what comes `before` a model, and that, with the best of some values."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), *before, model)
    step = f"{type(model).__name__.lower()}__{name}"
    if len(values) == 1 or len(parts) < 2:
        return pipeline.set_params(**{step: values[0]}).fit(x, y)
    return GridSearchCV(pipeline, {step: list(values)}, cv=parts).fit(x, y)


@HEADS.add
@attrs.frozen
class Linear(Head):
    """Logistic regression of classes, ridge regression of numbers, on standardized features.

    `strengths` of the regularization (that of ridge; logistic regression has their inverse) are tried.
    """

    name: str = attrs.field(init=False, default="linear")
    strengths: tuple[float, ...] = attrs.field(default=(0.01, 0.1, 1.0, 10.0, 100.0), converter=_positive)

    def classes(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=300, tol=1e-3)
        inverse = tuple(1 / strength for strength in self.strengths)
        parts = [
            part for part in _parts(groups) if len(np.unique(labels[part[0]])) > 1
        ]  # one class is nothing to learn
        return _searched(model, "C", inverse, features, labels, parts).predict

    def numbers(self, features: np.ndarray, targets: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        from sklearn.linear_model import Ridge

        double = features.astype(np.float64)  # in single precision weak strengths are ill-conditioned
        return _searched(Ridge(), "alpha", self.strengths, double, targets, _parts(groups)).predict


@HEADS.add
@attrs.frozen
class Neighbors(Head):
    """The vote or the mean of the nearest by cosine, by nearness; `counts` of them are tried."""

    name: str = attrs.field(init=False, default="knn")
    counts: tuple[int, ...] = attrs.field(default=(1, 5, 20), converter=_whole)

    def classes(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        from sklearn.neighbors import KNeighborsClassifier

        return self._fit(KNeighborsClassifier(**NEARNESS), features, labels, groups)

    def numbers(self, features: np.ndarray, targets: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        from sklearn.neighbors import KNeighborsRegressor

        return self._fit(KNeighborsRegressor(**NEARNESS), features, targets, groups)

    def _fit(self, model: Any, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Predict:
        from sklearn.preprocessing import Normalizer

        parts = _parts(groups)
        learning = min([len(x), *(len(part[0]) for part in parts)])
        counts = tuple(count for count in self.counts if count <= learning) or (1,)
        return _searched(model, "n_neighbors", counts, x, y, parts, Normalizer()).predict


@HEADS.add
@attrs.frozen
class Attentive(Head):
    """Attention of learned queries over all tokens, then a linear layer (V-JEPA, arXiv 2404.08471): classes alone.

    `steps` of AdamW at rate `lr`, on batches of 64.
    """

    name: str = attrs.field(init=False, default="attentive")
    reads: ClassVar[str] = "tokens"
    steps: int = attrs.field(default=300, converter=integer, validator=at_least(1))
    lr: float = attrs.field(default=2e-3, converter=real, validator=between(0, 1, above=True))
    heads: int = attrs.field(default=4, converter=integer, validator=at_least(1))

    def classes(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Predict:
        from anymodal.transfer.attentive import learned

        return learned(features, labels, seed, steps=self.steps, lr=self.lr, heads=self.heads)
