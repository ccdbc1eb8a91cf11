"""The sam_edge plugin: edges of instances, checked against the definition pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anymodal as am

SamEdge = am.registry().modality("sam_edge")
maps = st.builds(
    lambda seed, height, width: np.random.default_rng(seed).integers(0, 3, (height, width), dtype=np.uint8),
    st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 8),
)  # fmt: skip


def derive(instances):
    return SamEdge().derive({"sam_instance": instances})


@given(maps)
def test_an_edge_is_a_pixel_of_an_instance_beside_something_else(labels):
    edges = derive(labels)
    assert edges.dtype == np.uint8 and edges.shape == labels.shape
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            beside = [(y + dy, x + dx) for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
            others = [labels[p] for p in beside if 0 <= p[0] < height and 0 <= p[1] < width]
            assert (edges[y, x] == 255) == (labels[y, x] > 0 and any(o != labels[y, x] for o in others))


@given(maps)
def test_a_mirrored_picture_has_mirrored_edges(labels):
    assert np.array_equal(derive(labels[:, ::-1]), derive(labels)[:, ::-1])


@given(maps)
def test_masks_and_a_map_of_them_have_the_same_edges(labels):
    masks = [labels == number for number in (1, 2)]
    assert np.array_equal(derive(masks), derive(labels))


def test_nothing_has_no_edges_and_what_is_no_map_is_refused():
    assert not derive([]).any() and derive([]).shape == (224, 224)
    with pytest.raises(am.ValueProblem, match=r"shape \(H, W\)"):
        derive(np.zeros((2, 2, 2), np.uint8))


def test_space_tokenizer_and_labeler():
    (stream,) = SamEdge().streams()
    assert stream.space == am.TokenSpace.grid(8192, 14, 14)
    assert SamEdge.repository == "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"
    labeler = am.registry().labeler("sam_edge")()
    value = np.eye(6, dtype=np.uint8)
    assert np.array_equal(labeler.label([{"sam_instance": value}])[0], derive(value))
