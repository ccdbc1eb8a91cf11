"""The labeler of depth on small random networks."""

import importlib

import numpy as np
import pytest
import torch
from anymodal_depth import Depth
from PIL import Image

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("depth")


def pictures():
    rng = np.random.default_rng(0)
    return [{"rgb": rng.integers(0, 256, shape, dtype=np.uint8)} for shape in ((40, 60, 3), (33, 47, 3))]


def dpt(folder):
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    config = DPTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=16,
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def depth_anything(folder, kind):
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessorPil

    backbone = Dinov2Config(
        hidden_size=16, mlp_ratio=2, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_hidden_size=8, depth_estimation_type=kind, max_depth=20 if kind == "metric" else 1,
    )  # fmt: skip
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    DPTImageProcessorPil(size=size, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def relative_depth_anything(folder):
    return depth_anything(folder, "relative")


@pytest.mark.parametrize("make", [dpt, relative_depth_anything])
def test_relative_networks_give_depth_between_0_and_1(tmp_path, make):
    labeler = am.registry().labeler("depth")(make(tmp_path), device="cpu")
    for sample, depth in zip(pictures(), labeler.label(pictures()), strict=True):
        assert depth.shape == sample["rgb"].shape[:2] and depth.dtype == np.float32
        assert depth.min() > 0 and depth.max() == pytest.approx(1)


def test_metric_networks_give_meters(tmp_path):
    labeler = am.registry().labeler("depth")(depth_anything(tmp_path, "metric"), device="cpu")
    (depth, _) = labeler.label(pictures())
    assert depth.shape == (40, 60) and 0 < depth.mean() < 20 and depth.max() != 1


def glpn(folder):
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessorPil

    small = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "mlp_ratios": [1] * 4}
    GLPNForDepthEstimation(GLPNConfig(**small, decoder_hidden_size=8, max_depth=10)).save_pretrained(folder)
    GLPNImageProcessorPil().save_pretrained(folder)
    return folder


def dpt_over_dinov2(folder):
    from transformers import Dinov2Config, DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    backbone = Dinov2Config(
        hidden_size=8, mlp_ratio=1, num_hidden_layers=4, num_attention_heads=1, image_size=28, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip
    config = DPTConfig(backbone_config=backbone, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, add_projection=False)
    network = DPTForDepthEstimation(config)
    torch.nn.init.constant_(network.head.head[-2].bias, 3.0)  # random ones are around 0, where nothing is left of ReLU
    network.save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [glpn, dpt_over_dinov2])
def test_depth_in_meters_stays_as_it_is(tmp_path, make):
    """Its reciprocal, as of networks that give inverse depth, would be near where the scene is far."""
    labeler = am.registry().labeler("depth")(make(tmp_path), device="cpu")
    (sample, _) = pictures()
    with torch.inference_mode():
        found = labeler.model(**labeler.prepared([sample["rgb"]])).predicted_depth
    (depth,) = labeler.label([sample])
    assert depth.shape == (40, 60) and depth.mean() == pytest.approx(float(found.mean()), rel=0.05) and depth.max() > 2


def test_inverse_depth_becomes_depth():
    from_inverse = importlib.import_module("anymodal_depth").from_inverse
    assert np.allclose(from_inverse(np.array([[1.0, 2.0], [4.0, 0.0]])), [[4 / 50, 2 / 50], [1 / 50, 1]])
    assert (from_inverse(np.zeros((2, 2))) == 1).all()


def test_large_pictures_have_their_scale_drawn_in():
    near = np.full((64, 64), 2.0, np.float32)
    near[:32] = 8
    metric, relative = Depth(scaling="log", low=0.4, high=80.0), Depth()
    for modality in (metric, relative):
        small, large = (np.asarray(modality.show(near, size), int) for size in (100, 200))
        assert (small[-8:] == small[-8:, :1]).all() and (large[-12:] != large[-12:, -1:]).any()
    assert (np.asarray(metric.show(near, 200)) != np.asarray(metric.show(near * 2, 200))).any()  # other numbers


KEPT = np.arange(32)[None] < np.full((32, 1), 16)  # the left half


@pytest.mark.parametrize("settings", [{}, {"scaling": "log", "low": 0.4, "high": 80.0}])
def test_made_depth_joins_what_was_measured(settings):
    depth, value, made = Depth(size=32, patch=8, **settings), np.full((32, 32), 0.5, np.float32), np.full((32, 32), 0.7)
    value[:, 13:16] = 0  # not measured, beside the border
    joined = depth.joined(value, made.astype(np.float32), KEPT)
    assert np.array_equal(joined[:, :16], value[:, :16]) and np.allclose(joined[:, 16:], 0.5, atol=0.01)


def test_metric_depth_stays_above_0_where_it_joins():
    value, made = np.full((32, 32), 1.0, np.float32), np.full((32, 32), 6.0, np.float32)
    made[:, 24:] = 3
    joined = Depth(size=32, patch=8, scaling="log", low=0.4, high=80.0).joined(value, made, KEPT)
    assert np.allclose(joined[:, :24], 1, atol=0.01) and np.allclose(joined[:, 24:], 0.5, atol=0.01)


@pytest.mark.parametrize("settings", [{}, {"scaling": "log", "low": 0.1, "high": 80.0}])
def test_what_is_not_finite_is_not_measured_in_files_either(tmp_path, settings):
    depth, value = Depth(size=32, patch=8, **settings), np.full((4, 5), 0.5, np.float32)
    value[0, :3] = np.inf, -np.inf, np.nan
    depth.write(value, tmp_path / "depth.png")
    assert np.array_equal(depth.measured(depth.read(tmp_path / "depth.png")), depth.measured(value))


def test_relative_depth_of_a_model_is_whole_in_its_file(tmp_path):
    made = np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8)
    Depth().write(made, tmp_path / "depth.png")
    assert np.allclose(Depth().read(tmp_path / "depth.png"), made, atol=1e-4)
    Depth().write(made.clip(0.1, 0.9), tmp_path / "inside.png")
    with Image.open(tmp_path / "inside.png") as picture:  # the highest number stands for `high`, as documented
        assert np.allclose(np.asarray(picture) / 65535, made.clip(0.1, 0.9), atol=1e-4)


def test_what_is_not_measured_stays_so_in_the_file_of_relative_depth(tmp_path):
    rng, depth = np.random.default_rng(0), Depth()
    for reach in (0.7, 3, 40, 6e4):
        value = (reach * rng.normal(size=(16, 16))).astype(np.float32)
        value[0, :4] = np.nan, np.inf, 0, -np.inf
        depth.write(value, tmp_path / "depth.png")
        back = depth.read(tmp_path / "depth.png")
        assert not back[0, :4].any() and np.allclose(back[1:], value[1:], atol=np.ptp(value[1:]) / 65534)


def test_relative_depth_that_a_file_would_cut_is_refused(tmp_path):
    """A TIFF does not state its range, so that what is beyond the usual one would be cut off."""
    with pytest.raises(am.ValueProblem, match=r"depth.tif: depth from -2 to 3 reaches beyond 0 to 1, .* write .png"):
        Depth().write(np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8), tmp_path / "depth.tif")
    Depth().write(np.full((8, 8), 0.5, np.float32), tmp_path / "depth.tif")
    assert np.allclose(Depth().read(tmp_path / "depth.tif"), 0.5, atol=1e-4)


def test_relative_depth_is_made_with_the_scale_of_what_is_kept():
    """A network that finds the depth exactly, as it reads and writes it: free of scale and shift."""
    y, x = np.mgrid[:32, :32] / 32
    depth, truth = Depth(size=32, patch=8), (0.3 + 0.2 * x + 0.1 * np.sin(6 * y)).astype(np.float32)
    made = depth.postprocess(depth.preprocess(truth))
    assert np.allclose(depth.joined(truth, made, KEPT)[:, 20:], truth[:, 20:], atol=1e-5)  # beyond the seam
    assert np.array_equal(depth.joined(truth, made, np.zeros_like(KEPT)), made)


METERS = {"size": 32, "patch": 8, "scaling": "log", "low": 0.4, "high": 80.0}


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_relative_depth_is_not_read_as_meters(tmp_path, suffix):
    made, path = np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8), tmp_path / f"depth{suffix}"
    Depth().write(made, path)
    with pytest.raises(am.ValueProblem, match=rf"depth{suffix}: it was written .* without a unit, .* array in meters"):
        Depth(**METERS).read(path)
    assert np.allclose(Depth().read(path), made, atol=1e-4)
    assert np.array_equal(Depth(**METERS).accept(made), made)  # the way out
    Depth(**METERS).write(made + 3, path)
    assert np.allclose(Depth().read(path), made + 3, atol=1e-2)  # a relative model frees meters of their scale


def photos(folder):
    for number, sample in enumerate(pictures()):
        am.registry().modality("rgb")().write(sample["rgb"], folder / f"{number}.png")
    return folder


def test_labels_say_whether_they_are_in_meters(tmp_path):
    for kind, settings in (("metric", {"high": 20.0}), ("relative", {})):
        network, out = depth_anything(tmp_path / kind, kind), tmp_path / f"{kind}-labels"
        options = {"settings": {"depth": settings}, "layout": "folder", "executor": "local"}
        am.label_dataset(photos(tmp_path / "photos"), {"depth": str(network)}, out, **options)
    assert Depth(**METERS).read(tmp_path / "metric-labels" / "depth" / "0.png").max() > 1e-3
    with pytest.raises(am.ValueProblem, match="without a unit"):
        Depth(**METERS).read(tmp_path / "relative-labels" / "depth" / "0.png")


def test_labels_of_relative_depth_are_not_written_as_meters(tmp_path):
    labeler = am.registry().labeler("depth")(dpt(tmp_path), device="cpu")
    labeler.settings = METERS
    with pytest.raises(am.ConfigError, match="makes relative depth, and scaling 'log' means meters"):
        labeler.label(pictures())
