"""What frozen features know: a head on them, tried on samples that it did not learn from.

Shapes: n samples, D width, h x w cells of a map, H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.anymodel import AnyModel
from anymodal.config.arguments import DICTS, PLACE, TEXT, WHOLE, instance, takes
from anymodal.config.validators import integer, real
from anymodal.errors import ConfigError, ValueProblem, brief, counted
from anymodal.evaluation.intervals import half_width
from anymodal.modality import Modality
from anymodal.notebook import html_table
from anymodal.plugins.guard import blame
from anymodal.transfer.dense import Cells, cells_of
from anymodal.transfer.frozen import accepted, frozen_features
from anymodal.transfer.heads import HEADS, Head, Predict, no_cells, require_sklearn

Scores = dict[str, float]
MOST_SEEDS = 1000
POOLING = {"vectors": "mean"}


@attrs.frozen
class Split:
    """Numbers of the samples that a head learns from, and of those that it is tried on."""

    learned: np.ndarray
    held_out: np.ndarray


@attrs.frozen
class Probed:
    """What came of a probe.

    head: in words.
    scores: of each split, by name.
    constant: those of a head that always says the most frequent class, or the mean.
    learned, held_out: how many samples of a split.
    """

    head: str
    scores: Sequence[Mapping[str, float]]
    constant: Sequence[Mapping[str, float]]
    learned: int
    held_out: int

    def _repr_html_(self) -> str:
        usual = {score: float(np.mean([each[score] for each in self.constant])) for score in self.scores[0]}
        spans = {score: self.interval(score) for score in usual}
        between = {score: f"{span[0]:.4g} to {span[1]:.4g}" if span else "" for score, span in spans.items()}
        rows = [(score, self.mean(score), between[score], constant) for score, constant in usual.items()]
        learned, splits = counted(self.learned, "sample"), counted(len(self.scores), "split")
        title = f"{self.head} on {learned}, tried on {self.held_out}, {splits}"
        return html_table(("score", "mean", "95 %", "constant"), rows, title)

    def mean(self, score: str) -> float:
        """The mean of a score over the splits."""
        return float(np.mean([each[score] for each in self.scores]))

    def interval(self, score: str) -> tuple[float, float] | None:
        """The 95 % interval (Student's t) of its mean over splits, which share samples; None of a single split."""
        values = [each[score] for each in self.scores]
        if len(values) < 2:
            return None
        wide = half_width(values)
        return self.mean(score) - wide, self.mean(score) + wide


@takes(model=instance("a model", AnyModel), samples=DICTS, to=TEXT, seeds=WHOLE, layer=WHOLE, cache=PLACE)
def probe(
    model: AnyModel,
    samples: Sequence[Mapping[str, Any]],
    labels: Sequence[Any] | None = None,
    *,
    to: str | None = None,
    head: str | Head = "linear",
    splits: Sequence[Split] | None = None,
    held_out: float = 0.25,
    seeds: int = 3,
    layer: int = -1,
    cache: str | Path | None = None,
) -> Probed:
    """Try what a head on frozen features learns: classes of samples, or a grid such as depth or a class map.

    Args:
        model: whose encoder gives the features.
        samples: plain values by modality, the same modalities in each.
        labels: the class of each sample. Leave them out with `to`.
        to: the modality of `samples` that is to be read off the features of the others: each cell of the map of the
            first of these that is a grid tells its pixels. Label maps give the most frequent class of a cell.
        head: 'linear', 'knn', 'attentive' (classes of samples alone), or another one of `HEADS`, with its options.
        splits: which samples are learned from and tried on; by default `seeds` random ones.
        held_out: the share of the samples, in (0, 1), that random splits try.
        seeds: how many random splits there are.
        layer: the features after this block of the encoder, from 0, or from -1 backwards.
        cache: a folder where features are kept; see `frozen_features`.

    Returns:
        Accuracy, and the mean of the classes' accuracies, or what the modality scores by.

    Raises:
        ConfigError: what is asked for cannot be, or scikit-learn is missing.
        AnymodalError: a value cannot be read.
    """
    chosen = HEADS(head)
    require_sklearn()
    names = _inputs(samples, labels, to)
    values = [accepted(model, sample) for sample in samples]
    given = [{name: value[name] for name in names} for value in values]
    parts = _random_splits(len(samples), held_out, seeds) if splits is None else _checked(splits, len(samples))
    where = Path(cache) if cache is not None else None
    if to is not None:
        _check_cells(model, to, chosen)
        modality, grid = model.modalities[to], _grid(model, names)
        features = frozen_features(model, given, map_of=grid, layer=layer, cache=where)
        with blame(modality, "preprocess"):
            tensors = [modality.preprocess(value[to]) for value in values]
            measured = [modality.measured(value[to]) for value in values]
        cells = cells_of(tensors, features.shape[1:3], to, measured)
        tried = _Grids(modality, features, cells, [value[to] for value in values])
        results = [tried.scores(chosen, split, seed) for seed, split in enumerate(parts)]
    else:
        assert labels is not None
        classes = _class_names(labels)
        features = frozen_features(model, given, pool=POOLING.get(chosen.reads), layer=layer, cache=where)
        results = [_class_scores(chosen, features, classes, split, seed) for seed, split in enumerate(parts)]
    scores, constant = zip(*results, strict=True)
    return Probed(str(chosen.name), scores, constant, len(parts[0].learned), len(parts[0].held_out))


def _inputs(samples: Sequence[Mapping[str, Any]], labels: Sequence[Any] | None, to: str | None) -> list[str]:
    """The modalities that features are made from. Raises ConfigError for samples that do not fit together."""
    if (labels is None) == (to is None):
        raise ConfigError("a probe learns labels or a modality: give one of labels and to")
    if len(samples) < 4:
        raise ConfigError(f"a probe needs four samples at least, got {len(samples)}")
    if labels is not None and len(labels) != len(samples):
        raise ConfigError(f"there are {len(labels)} labels for {counted(len(samples), 'sample')}")
    names = list(samples[0]) if isinstance(samples[0], Mapping) else []
    for number, sample in enumerate(samples):
        if not isinstance(sample, Mapping):
            raise ConfigError(f"samples are values by modality, got {brief(sample)}")
        if set(sample) != set(names):
            raise ConfigError(f"sample {number} has {', '.join(sample) or 'nothing'}, the first one {', '.join(names)}")
    if to is not None and to not in names:
        raise ConfigError(f"the samples have no {to!r} to learn from; they have {', '.join(names)}")
    left = [name for name in names if name != to]
    if not left:
        raise ConfigError("the samples have nothing to make features from")
    return left


def _class_names(labels: Sequence[Any]) -> np.ndarray:
    """The class of each sample (n,). Raises ConfigError for what are no names or numbers of classes."""
    if isinstance(labels, str):
        raise ConfigError(f"labels are a list with the class of each sample, not {brief(labels)}")
    for kind in (str, (int, np.integer)):
        if all(isinstance(label, kind) for label in labels):
            return np.asarray(list(labels))
    strange = [label for label in labels if not isinstance(label, (str, int, np.integer))]
    found = brief(strange[0]) if strange else "both"
    raise ConfigError(f"labels are all texts or all whole numbers, got {found}")


def _checked(splits: Sequence[Split], count: int) -> list[Split]:
    """Splits as numbers of samples. Raises ConfigError for those that are none, that share samples, or lack a part."""
    parts = []
    for split in splits if isinstance(splits, Sequence) else [splits]:
        if not isinstance(split, Split):
            raise ConfigError(f"splits are a list of anymodal.transfer.Split, got {brief(split)}")
        both = []
        for name, rows in (("learned", split.learned), ("held_out", split.held_out)):
            numbers = np.asarray(rows)
            if numbers.dtype == bool and numbers.shape == (count,):
                numbers = np.flatnonzero(numbers)
            if not numbers.size:
                raise ConfigError(f"a split has no sample that is {name.replace('_', ' ')}")
            if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() < count:
                raise ConfigError(f"{name} of a split are numbers of samples from 0 to {count - 1}, got {brief(rows)}")
            both.append(numbers.astype(np.int64))
        if (shared := np.intersect1d(both[0], both[1])).size:
            raise ConfigError(f"a split learns from sample {shared[0]} and is tried on it")
        parts.append(Split(*both))
    if not parts:
        raise ConfigError("splits is empty: leave it out for random ones")
    return parts


def _random_splits(count: int, held_out: float, seeds: int) -> list[Split]:
    held_out, seeds = real(held_out), integer(seeds)
    if not 0 < held_out < 1 or not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"held_out is between 0 and 1 and seeds from 1 to {MOST_SEEDS}, got {held_out} and {seeds}")
    tried = min(max(round(count * held_out), 1), count - 2)
    orders = [np.random.default_rng(seed).permutation(count) for seed in range(seeds)]
    return [Split(np.sort(order[tried:]), np.sort(order[:tried])) for order in orders]


def _check_cells(model: AnyModel, to: str, head: Head) -> None:
    """Raise ConfigError where a head cannot tell a modality by its cells."""
    if head.reads != "vectors":
        raise ConfigError(f"the head {head.name!r} reads all tokens of a sample: {to!r} needs one of cells")
    if not model.modalities[to].reads_tensors:
        raise no_cells(to, [each.name for each in model.modalities if each.reads_tensors])


def _grid(model: AnyModel, names: Sequence[str]) -> str:
    """The first input that is read as a grid. Raises ConfigError."""
    streams = [stream for name in names for stream in model.modalities.input_streams(name)]
    for stream in streams:
        if model.modalities.layout[stream].space.shape is not None:
            return stream
    raise ConfigError(f"none of {', '.join(names)} is a grid, whose cells could tell pixels")


def _class_scores(
    head: Head, features: np.ndarray, labels: np.ndarray, split: Split, seed: int
) -> tuple[Scores, Scores]:
    names, ids = np.unique(labels, return_inverse=True)
    known = ids[split.learned]
    if len(np.unique(known)) < 2:
        raise ConfigError(
            f"a probe tells classes apart: all samples that it learns from are {str(names[known[0]])!r:.80}"
        )
    predict = head.classes(features[split.learned], known, split.learned, seed)
    truth = ids[split.held_out]
    most = np.bincount(known).argmax()
    return _accuracies(predict(features[split.held_out]), truth), _accuracies(np.full(len(truth), most), truth)


def _accuracies(predicted: np.ndarray, truth: np.ndarray) -> Scores:
    right = predicted == truth
    each = [right[truth == label].mean() for label in np.unique(truth)]
    return {"accuracy": float(right.mean()), "mean class accuracy": float(np.mean(each))}


@attrs.frozen(eq=False)
class _Grids:
    """Grids that are read off maps: the features (n, h, w, D), and the values as cells and as they are."""

    modality: Modality
    features: np.ndarray
    cells: Cells
    truths: Sequence[Any]

    def scores(self, head: Head, split: Split, seed: int) -> tuple[Scores, Scores]:
        """The scores of a head that learns each cell on its own, and of the constant one."""
        rows = self.features[split.learned].reshape(-1, self.features.shape[-1])
        targets = self.cells.rows[split.learned].reshape(len(rows), -1)
        groups = np.repeat(split.learned, len(rows) // len(split.learned))
        known = self.cells.known[split.learned].reshape(-1)
        rows, targets, groups = rows[known], targets[known], groups[known]
        least = 2 if self.cells.classes else 1
        if len(np.unique(targets, axis=0)) < least:
            raise ConfigError(f"{self.modality.name} has {'one class' if len(rows) else 'nothing'} to learn from")
        if self.cells.classes:
            labels = targets[:, 0].astype(np.int64)
            predict = head.classes(rows, labels, groups, seed)
            usual = np.array([np.bincount(labels).argmax()])
        else:
            predict, usual = head.numbers(rows, targets, groups, seed), targets.mean(0)
        more = self.features[split.held_out].reshape(-1, self.features.shape[-1])
        constant: Predict = lambda x: np.broadcast_to(usual, (len(x), len(usual)))  # noqa: E731
        return self._scored(predict, more, split), self._scored(constant, more, split)

    def _scored(self, predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, split: Split) -> Scores:
        tensors = self.cells.tensors(predict(rows).reshape(len(split.held_out), *self.cells.rows.shape[1:]))
        with blame(self.modality, "postprocess"):
            values = [self.modality.postprocess(tensor) for tensor in tensors]
        with blame(self.modality, "score"):
            found = self.modality.score(values, [self.truths[number] for number in split.held_out])
        if not all(np.isfinite(value) for value in found.values()):
            raise ValueProblem(f"{self.modality.name} has scores that are not finite: {brief(found)}")
        return {name: float(value) for name, value in found.items()}
