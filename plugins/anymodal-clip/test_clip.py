"""The CLIP plugin: spaces, values and the labeler on a small random network."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("clip")

Clip = am.registry().modality("clip")


def test_space_and_published_tokenizer():
    (stream,) = Clip().streams()
    assert stream.space == am.TokenSpace.grid(8192, 14, 14)
    assert Clip().channels == 512
    assert Clip.repository == "EPFL-VILAB/4M_tokenizers_CLIP-B16_8k_224-448"


def test_values_of_another_network_are_refused():
    with pytest.raises(am.ValueProblem, match=r"features of shape \(rows, columns, 512\), got .*16"):
        Clip().accept(np.zeros((4, 4, 16), np.float32))


def test_sampling_is_slow_only_where_the_picture_has_to_be_invented():
    grounded, free = Clip().sampling(True), Clip().sampling(False)
    assert (grounded.steps, free.steps) == (1, 50)
    assert (str(free.scheme), free.temperature, str(free.guidance)) == ("roar", 5.0, "3")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, projection_dim=12, num_hidden_layers=2, num_attention_heads=2,
        image_size=224, patch_size=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("clip")
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def test_the_labeler_makes_one_vector_a_patch(checkpoint):
    labeler = am.registry().labeler("clip")(checkpoint, device="cpu")
    rng = np.random.default_rng(0)
    square, wide = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((100, 100, 3), (100, 200, 3)))
    first, second, third = labeler.label([{"rgb": square}, {"rgb": wide}, {"rgb": square}])
    assert first.shape == (14, 14, 12) and second.shape == (14, 28, 12) and first.dtype == np.float32
    assert np.array_equal(first, third)


def test_patches_are_projected_as_the_library_projects_the_class_token(checkpoint):
    import torch

    labeler = am.registry().labeler("clip")(checkpoint, device="cpu")
    pixels = torch.rand(1, 3, 224, 224)
    output = labeler.model(pixel_values=pixels)
    vision = labeler.model.vision_model
    vision.register_forward_hook(lambda module, args, kept: setattr(kept, "last_hidden_state", repeated(kept)))
    repeated = lambda kept: kept.last_hidden_state[:, :1].expand(-1, 197, -1)  # noqa: E731
    assert torch.allclose(labeler.features(pixels)[:, 7], output.image_embeds, atol=1e-6)
