"""Votes of neighbors and places in a search, as by one product of all vectors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import anymodal as am
from anymodal.evaluation.scores.neighbors import NeighborVotes, Recall

RNG = np.random.default_rng(0)
KEPT = RNG.standard_normal((40, 6)).astype(np.float16).astype(np.float32)
ASKED = RNG.standard_normal((9, 6)).astype(np.float32)


def cosines() -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ASKED, KEPT))
    return a @ b.T


def index(tmp_path, names) -> am.Index:
    made = am.Index.create(tmp_path / "index", channels=6)
    made.add(KEPT, names)
    return made


def test_neighbors_vote_by_their_cosine(tmp_path):
    names, truths = [f"class {k % 7}" for k in range(40)], [f"class {k % 7}" for k in range(9)]
    metric = NeighborVotes(neighbors=5, temperature=0.1)
    metric.refer(index(tmp_path, names))
    own = metric.update_all(list(ASKED), truths)
    first, shares = 0, []
    for row, truth in zip(cosines(), truths, strict=True):
        votes = Counter()
        for k in np.argsort(-row)[:5]:
            votes[names[k]] += np.exp(row[k] / 0.1)
        first += max(votes, key=votes.__getitem__) == truth
        shares.append(votes[truth] / sum(votes.values()))
    assert metric.compute()["top1"] == first / 9 and own == pytest.approx(shares, abs=0.01)
    metric.update_all(["class 0"] * 2, ["class 0", "class 1"])
    assert metric.compute()["top1"] == (first + 1) / 11


def test_recall_is_the_place_among_all(tmp_path):
    truths = [f"row {k}" for k in range(9)]
    metric = Recall((1, 3))
    metric.refer(index(tmp_path, [f"row {k}" for k in range(40)]))
    own = metric.update_all(list(ASKED), truths)
    places = [(row > row[k]).sum() + 1 for k, row in enumerate(cosines())]
    assert metric.compute() == {f"recall{n}": pytest.approx(np.mean([p <= n for p in places])) for n in (1, 3)}
    assert own == [pytest.approx(1 / p) if p <= 3 else 0 for p in places]
