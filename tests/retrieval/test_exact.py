"""Exact search: the same as sorting all products, in blocks of any size and with any rows left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.retrieval import exact
from anymodal.retrieval.exact import nearest, picked


def brute(vectors: np.ndarray, query: np.ndarray, allowed: np.ndarray, top: int) -> list[int]:
    """All rows by their products in float64, the first of equal ones first."""
    products = vectors.astype(np.float64) @ query.astype(np.float64)
    order = [row for row in np.argsort(-products, kind="stable") if allowed[row]][:top]
    return [int(row) for row in order] + [-1] * (top - len(order))


def shards_of(vectors: np.ndarray, cuts: list[int]) -> list[torch.Tensor]:
    return [torch.from_numpy(part) for part in np.split(vectors, sorted(cuts))]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 60),
    channels=st.integers(1, 5),
    queries=st.integers(1, 4),
    top=st.integers(1, 70),
    block=st.integers(1, 20),
    share=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    data=st.data(),
)
def test_blocks_find_what_sorting_finds(seed, rows, channels, queries, top, block, share, data):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (rows, channels)).astype(np.float16)  # with many equal products
    asked = rng.standard_normal((queries, channels)).astype(np.float32)
    cuts = data.draw(st.lists(st.integers(0, rows), max_size=3))
    allowed = rng.random(rows) < share
    before = exact.BLOCK_BYTES
    try:
        exact.BLOCK_BYTES = block * 4 * channels
        found, scores = nearest(shards_of(vectors, cuts), asked, top, None if share == 1 else allowed)
        alone, alone_scores = nearest(shards_of(vectors, cuts), asked[-1:], top, None if share == 1 else allowed)
    finally:
        exact.BLOCK_BYTES = before
    mask = np.ones(rows, bool) if share == 1 else allowed
    for k in range(queries):
        wanted = brute(vectors, asked[k], mask, top)
        products = vectors.astype(np.float64) @ asked[k].astype(np.float64)
        there = [row for row in wanted if row >= 0]
        assert [row >= 0 for row in found[k]] == [row >= 0 for row in wanted]
        assert np.allclose(products[there], scores[k, : len(there)], atol=1e-12)
        assert len(set(found[k, : len(there)])) == len(there) and mask[found[k, : len(there)]].all()
        assert np.isneginf(scores[k, len(there) :]).all()
    assert np.array_equal(found[-1], alone[0]) and np.array_equal(scores[-1], alone_scores[0])


def test_of_equal_rows_the_first_come_first():
    vectors = np.ones((100, 3), np.float16)
    assert nearest(shards_of(vectors, [7, 50]), np.ones((1, 3), np.float32), 5)[0].tolist() == [[0, 1, 2, 3, 4]]


def test_what_is_not_a_number_is_never_found():
    vectors = np.array([[1, 0], [np.nan, 0], [0.5, 0]], np.float16)
    rows, scores = nearest([torch.from_numpy(vectors)], np.array([[1, 0]], np.float32), 3)
    assert rows.tolist() == [[0, 2, -1]] and scores[0, :2].tolist() == [1, 0.5]


@pytest.mark.parametrize("cuts", [[], [3], [0, 0, 5]])
def test_rows_are_picked_through_all_shards(cuts):
    vectors = np.arange(16, dtype=np.float16).reshape(8, 2)
    rows = np.array([7, 0, 3, 3])
    assert np.array_equal(picked(shards_of(vectors, cuts), rows), vectors[rows])


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    sizes = []
    kept = torch.empty

    def empty(shape, **options):
        sizes.append(int(np.prod(shape)) * 4)
        return kept(shape, **options)

    monkeypatch.setattr(exact, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(torch, "empty", empty)
    nearest([torch.zeros(50_000, 8, dtype=torch.float16)], np.ones((2, 8), np.float32), 3)
    assert sizes == [1 << 16]
