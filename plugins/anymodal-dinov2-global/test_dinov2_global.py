"""The plugin of DINOv2 for whole pictures: space, values and the labeler on a small random network."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("dinov2_global")

Dinov2Global = am.registry().modality("dinov2_global")


def test_space_and_published_tokenizer():
    (stream,) = Dinov2Global().streams()
    assert stream.space == am.TokenSpace(8192, 16, learned=True)
    assert Dinov2Global().channels == 768
    assert Dinov2Global.repository == "EPFL-VILAB/4M_tokenizers_DINOv2-B14-global_8k_16_224"


def test_values_of_another_network_are_refused():
    with pytest.raises(am.ValueProblem, match=r"a vector of shape \(768,\), got .*\(1, 768\)"):
        Dinov2Global().accept(np.zeros((1, 768), np.float32))


def test_the_score_is_the_cosine():
    modality = Dinov2Global()
    up, right = np.eye(768, dtype=np.float32)[:2]
    assert modality.score([up, up], [3 * up, right]) == {"cosine": pytest.approx(0.5)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, mlp_ratio=2, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14
    )
    folder = tmp_path_factory.mktemp("dinov2")
    Dinov2Model(config).save_pretrained(folder)
    return folder


def test_the_labeler_sees_the_centered_square(checkpoint):
    labeler = am.registry().labeler("dinov2_global")(checkpoint, device="cpu")
    wide = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    whole, part = labeler.label([{"rgb": wide}, {"rgb": wide[:, 50:150]}])
    assert whole.shape == (16,) and whole.dtype == np.float32
    assert np.allclose(whole, part, atol=1e-5)
