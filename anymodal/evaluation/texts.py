"""Captions against one or several true ones: BLEU of the whole set, and the words they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from anymodal.evaluation.metrics import Means, Metric
from anymodal.text import words_of

LONGEST = 4


class CaptionOverlap(Metric):
    """`bleu4`, and `word_f1` with the nearest of the true captions, averaged over the samples.

    BLEU (Papineni et al. 2002) takes the counts of n-grams up to 4 over all samples together, each clipped by the most
    that one true caption has of it, and the length of the nearest true caption, of equally near ones the shorter. Both
    sides are cut into words alike, in small letters without accents, since decoded text has lost its spelling.
    """

    def __init__(self) -> None:
        self.right, self.said = [0] * LONGEST, [0] * LONGEST
        self.length, self.wanted = 0, 0
        self.means = Means()

    def update(self, prediction: Any, truth: Any) -> float | None:
        """`truth` is a caption or a list of them."""
        said = words_of(prediction)
        true = [words_of(each) for each in ([truth] if isinstance(truth, str) else truth)]
        true = [each for each in true if each]
        if not true:
            return None
        for n in range(1, LONGEST + 1):
            own, most = grams(said, n), Counter[tuple[str, ...]]()
            for each in true:
                most |= grams(each, n)
            self.right[n - 1] += sum((own & most).values())
            self.said[n - 1] += sum(own.values())
        self.length += len(said)
        self.wanted += min((abs(len(each) - len(said)), len(each)) for each in true)[1]
        best = max(shared(said, each) for each in true)
        self.means.add("word_f1", best)
        return best

    def compute(self) -> dict[str, float]:
        if "word_f1" not in set(self.means):
            return {}
        return {"bleu4": self._bleu(), "word_f1": self.means["word_f1"]}

    def _bleu(self) -> float:
        if not all(self.right):
            return 0.0
        logs = [math.log(right / said) for right, said in zip(self.right, self.said, strict=True)]
        short = min(0.0, 1 - self.wanted / self.length)
        return math.exp(sum(logs) / LONGEST + short)

    def state(self) -> dict[str, Any]:
        counts = {"right": self.right, "said": self.said, "length": self.length, "wanted": self.wanted}
        return {**counts, "means": self.means.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.right, self.said = list(state["right"]), list(state["said"])
        self.length, self.wanted = int(state["length"]), int(state["wanted"])
        self.means = Means.of(state["means"])


def grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each n words come one after the other."""
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))


def shared(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of the words of two texts, each counted as often as it occurs."""
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b))
