"""The DINOv2 plugin: spaces, values and the labeler on a small random network."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("dinov2")

Dinov2 = am.registry().modality("dinov2")


def test_space_and_published_tokenizer():
    (stream,) = Dinov2().streams()
    assert stream.space == am.TokenSpace.grid(8192, 16, 16)
    assert Dinov2().channels == 768
    assert Dinov2.repository == "EPFL-VILAB/4M_tokenizers_DINOv2-B14_8k_224-448"


def test_values_of_another_network_are_refused():
    with pytest.raises(am.ValueProblem, match=r"features of shape \(rows, columns, 768\), got .*16"):
        Dinov2().accept(np.zeros((4, 4, 16), np.float32))


def test_sampling_is_slow_only_where_the_picture_has_to_be_invented():
    grounded, free = Dinov2().sampling(True), Dinov2().sampling(False)
    assert (grounded.steps, free.steps) == (1, 8)
    assert (str(free.scheme), free.temperature, str(free.guidance)) == ("roar", 0.01, "2")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, mlp_ratio=2, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14
    )
    folder = tmp_path_factory.mktemp("dinov2")
    Dinov2Model(config).save_pretrained(folder)
    return folder


def test_the_labeler_makes_one_vector_a_patch(checkpoint):
    labeler = am.registry().labeler("dinov2")(checkpoint, device="cpu")
    rng = np.random.default_rng(0)
    square, tall = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((100, 100, 3), (200, 100, 3)))
    first, second = labeler.label([{"rgb": square}, {"rgb": tall}])
    assert first.shape == (16, 16, 16) and second.shape == (32, 16, 16) and first.dtype == np.float32


def test_patches_lie_where_the_picture_does(checkpoint):
    """Without attention and positions a network sees each patch alone: only the corner that differs may differ."""
    import torch

    labeler = am.registry().labeler("dinov2")(checkpoint, device="cpu")
    for name, weight in labeler.model.named_parameters():
        if "attention.output" in name or "position_embeddings" in name:
            torch.nn.init.zeros_(weight)
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[:14, -14:] = 255
    (features,) = labeler.label([{"rgb": picture}])
    different = np.abs(features - features[8, 8]).max(-1) > 1e-4
    assert different[0, 15] and different.sum() == 1
