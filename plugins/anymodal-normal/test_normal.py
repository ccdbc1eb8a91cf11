"""The labeler of normals on a small random Marigold."""

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.crops import Crop
from anymodal.testing import conformance

test_conformance = conformance("normal")

Normal = am.registry().modality("normal")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from diffusers import AutoencoderKL, DDIMScheduler, MarigoldNormalsPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("marigold")
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=8, in_channels=8, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[8, 8, 8, 8], norm_num_groups=4, latent_channels=4, sample_size=32,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    )  # fmt: skip
    text = CLIPTextConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, vocab_size=3,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    pipeline = MarigoldNormalsPipeline(
        unet=unet, vae=vae, scheduler=DDIMScheduler(prediction_type="v_prediction"), text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(model_max_length=77), prediction_type="normals",
        default_denoising_steps=1, default_processing_resolution=32,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.tuples(st.integers(8, 80), st.integers(8, 80)), st.booleans())
def test_cut_normals_are_natural_values(seed, shape, flip):
    normal, bumps = Normal(size=16), np.random.default_rng(seed).standard_normal((*shape, 3))
    value = normal.accept(bumps / np.linalg.norm(bumps, axis=-1, keepdims=True))
    cut = normal.crop(value, attrs.evolve(Crop.center(shape[1], shape[0]), flip=flip))
    assert np.array_equal(normal.accept(value), value) and np.array_equal(normal.accept(cut), cut)


def test_the_labeler_makes_unit_vectors_and_always_the_same(checkpoint):
    labeler = am.registry().labeler("normal")(checkpoint, device="cpu")
    rng = np.random.default_rng(0)
    pictures = [{"rgb": rng.integers(0, 256, shape, dtype=np.uint8)} for shape in ((32, 48, 3), (40, 40, 3))]
    values = labeler.label(pictures)
    for value, sample in zip(values, pictures, strict=True):
        assert value.shape == sample["rgb"].shape and value.dtype == np.float32
        assert np.allclose(np.linalg.norm(value, axis=-1), 1, atol=1e-4)
        assert np.array_equal(Normal().accept(value), value)
    assert np.array_equal(labeler.label(pictures[1:])[0], values[1])


def test_made_normals_stay_unit_vectors_where_they_join():
    """The difference at the border, added, would make (0, 1, 0) (-1, 1, 1), which is no surface."""
    x, y, z = np.eye(3, dtype=np.float32)
    value, made, kept = np.tile(z, (32, 32, 1)), np.tile(x, (32, 32, 1)), np.zeros((32, 32), bool)
    made[:, 24:], made[:4, 24:], value[:, 13:16], kept[:, :16] = y, 0, 0, True
    normal = Normal(size=32, patch=8)
    joined = normal.joined(value, made, kept)
    assert np.array_equal(joined[kept], value[kept]) and not joined[:4, 24:].any() and joined.dtype == np.float32
    assert np.allclose(np.linalg.norm(joined[4:, 16:], axis=-1), 1, atol=1e-5)
    assert np.array_equal(normal.accept(joined), joined) and np.allclose(joined[5, 17], z, atol=1e-5)
