"""Captions against one or several true ones: BLEU, CIDEr, and the words they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from anymodal.evaluation.metrics import Means, Metric
from anymodal.text import words_of

LONGEST = 4
WIDTH = 6.0  # of the Gaussian of lengths in CIDEr-D
Grams = Counter[tuple[str, ...]]


class CaptionOverlap(Metric):
    """`bleu1` to `bleu4`, `cider`, and `word_f1` with the nearest of the true captions, averaged over the samples.

    BLEU (Papineni et al. 2002) takes the counts of n-grams up to 4 over all samples together, each clipped by the most
    that one true caption has of it, and the length of the nearest true caption, of equally near ones the shorter. CIDEr
    is CIDEr-D (Vedantam et al. 2015, arXiv 1411.5726) times 10, whose weights of n-grams come from the true captions of
    the samples that are scored; their words are kept until the end for it. Both sides are cut into words alike, in
    small letters without accents, since decoded text has lost its spelling.
    """

    def __init__(self) -> None:
        self.right, self.said = [0] * LONGEST, [0] * LONGEST
        self.length, self.wanted = 0, 0
        self.means = Means()
        self.texts: list[tuple[str, list[str]]] = []

    def update(self, prediction: Any, truth: Any) -> float | None:
        """`truth` is a caption or a list of them."""
        said = words_of(prediction)
        true = [words_of(each) for each in ([truth] if isinstance(truth, str) else truth)]
        true = [each for each in true if each]
        if not true:
            return None
        for n in range(1, LONGEST + 1):
            own, most = grams(said, n), Grams()
            for each in true:
                most |= grams(each, n)
            self.right[n - 1] += sum((own & most).values())
            self.said[n - 1] += sum(own.values())
        self.length += len(said)
        self.wanted += min((abs(len(each) - len(said)), len(each)) for each in true)[1]
        best = max(shared(said, each) for each in true)
        self.means.add("word_f1", best)
        self.texts.append((" ".join(said), [" ".join(each) for each in true]))
        return best

    def compute(self) -> dict[str, float]:
        if not self.texts:
            return {}
        pairs = [(said.split(), [each.split() for each in true]) for said, true in self.texts]
        bleu = {f"bleu{n}": self._bleu(n) for n in range(1, LONGEST + 1)}
        return {**bleu, "cider": cider(pairs), "word_f1": self.means["word_f1"]}

    def _bleu(self, longest: int) -> float:
        if not all(self.right[:longest]):
            return 0.0
        logs = [math.log(self.right[n] / self.said[n]) for n in range(longest)]
        short = min(0.0, 1 - self.wanted / self.length)
        return math.exp(sum(logs) / longest + short)

    def state(self) -> dict[str, Any]:
        counts = {"right": self.right, "said": self.said, "length": self.length, "wanted": self.wanted}
        return {**counts, "means": self.means.state(), "texts": self.texts}

    def merge(self, state: Mapping[str, Any]) -> None:
        self.right = [a + int(b) for a, b in zip(self.right, state["right"], strict=True)]
        self.said = [a + int(b) for a, b in zip(self.said, state["said"], strict=True)]
        self.length, self.wanted = self.length + int(state["length"]), self.wanted + int(state["wanted"])
        self.means.merge(state["means"])
        self.texts += [(str(said), [str(each) for each in true]) for said, true in state["texts"]]


def grams(words: Sequence[str], n: int) -> Grams:
    """How often each n words come one after the other."""
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))


def shared(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the words of two texts, each counted as often as it occurs."""
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b))


def cider(pairs: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]]) -> float:
    """CIDEr-D times 10 of captions with their true ones, all of them as words, averaged over the samples.

    As coco-caption computes it: lengths are counted in pairs of words, and n-grams of no true caption weigh as if one
    sample had them.
    """
    means = []
    for n in range(1, LONGEST + 1):
        known = Counter(gram for _, true in pairs for gram in {g for each in true for g in grams(each, n)})
        weights = {gram: math.log(len(pairs)) - math.log(count) for gram, count in known.items()}
        for said, true in pairs:
            own = _weighed(said, n, weights, math.log(len(pairs)))
            means += [_cosine(own, _weighed(each, n, weights, 0.0)) * _as_long(said, each) / len(true) for each in true]
    return 10 * math.fsum(means) / (LONGEST * len(pairs))


def _weighed(words: Sequence[str], n: int, weights: Mapping[Any, float], other: float) -> dict[Any, float]:
    return {gram: count * weights.get(gram, other) for gram, count in grams(words, n).items()}


def _cosine(own: Mapping[Any, float], true: Mapping[Any, float]) -> float:
    """The cosine of two sparse vectors, of which the first is cut at the second."""
    norms = [math.sqrt(math.fsum(v * v for v in each.values())) for each in (own, true)]
    if not all(norms):
        return 0.0
    return math.fsum(min(v, true[gram]) * true[gram] for gram, v in own.items() if gram in true) / (norms[0] * norms[1])


def _as_long(said: Sequence[str], true: Sequence[str]) -> float:
    pairs = [max(len(each) - 1, 0) for each in (said, true)]
    return math.exp(-((pairs[0] - pairs[1]) ** 2) / (2 * WIDTH**2))
