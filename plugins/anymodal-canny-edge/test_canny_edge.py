"""The canny_edge plugin: the labeler, and the score against its definition."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("canny_edge")

CannyEdge = am.registry().modality("canny_edge")


def test_the_labeler_finds_what_deriving_finds():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[10:30, 10:30] = 255
    (edges,) = am.registry().labeler("canny_edge")().label([{"rgb": picture}])
    assert np.array_equal(edges, CannyEdge().derive({"rgb": picture}))
    assert edges.any() and set(np.unique(edges)) == {0, 255} and not edges[15:25, 15:25].any()


def test_edges_match_within_one_pixel():
    def line(column):
        value = np.zeros((20, 20), np.uint8)
        value[:, column] = 255
        return value

    def score(left, right):
        return CannyEdge().score([left], [right])["edge_f1"]

    assert score(line(5), line(6)) == pytest.approx(1)
    assert score(line(5), line(7)) == 0
    assert score(line(5) | line(12), line(5)) == pytest.approx(2 / 3)
    assert score(line(5) * 0, line(5) * 0) == 1
