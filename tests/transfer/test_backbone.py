"""The encoder as a module: equal to the features of the model, of timm's shape, exportable, and of use."""

import numpy as np
import pytest
import torch
from anymodal_scenes import render
from known_model import CELLS, PATCH, SIDE
from torch import nn

import anymodal as am
from anymodal.model import ModelConfig
from anymodal.nn.device import one_thread


@pytest.fixture(scope="module")
def tiny() -> am.AnyModel:
    return am.load("tiny", modalities=["rgb", "depth", "semseg"])


@pytest.fixture(scope="module")
def values() -> dict:
    scene = render(3, 64, SIDE)
    return {"rgb": scene.rgb, "depth": scene.depth, "semseg": scene.semseg}


def registered(**options) -> am.AnyModel:
    """A random model with registers, which reads photographs as pixels."""
    config = ModelConfig(dim=32, encoder_depth=3, decoder_depth=1, heads=2, registers=2)
    return am.AnyModel(am.ModalitySet([am.photograph("view", size=32, patch=8, **options)()]), config)


class TestStates:
    @pytest.mark.parametrize("names", [["rgb"], ["rgb", "depth"], ["semseg", "depth"]], ids="+".join)
    def test_they_are_the_features_of_the_model(self, tiny, values, names):
        given = {name: values[name] for name in names}
        backbone = am.backbone(tiny, names)
        tensors = backbone.preprocess([given, given])
        features = tiny.features(given, layers=[1, -1])
        final, found = backbone.forward_intermediates(tensors, [1, -1], norm=True)
        for k, states in enumerate(found):
            torch.testing.assert_close(states[1].movedim(0, -1), features.map(names[0])[k], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(final[0].mean(0), tiny.features(given, pool="mean").states, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(backbone(tensors)[1], final[0].mean(0), atol=1e-4, rtol=1e-4)

    def test_registers_come_first_and_are_in_no_map_and_no_mean(self):
        model = registered()
        backbone, x = am.backbone(model), torch.rand(2, 3, 32, 32) * 2 - 1
        states = backbone.forward_features(x)
        assert backbone.num_prefix_tokens == 2 and states.shape == (2, 2 + 16, backbone.num_features)
        torch.testing.assert_close(backbone(x), states[:, 2:].mean(1))
        ((tokens, prefix),) = backbone.forward_intermediates(
            x, 1, return_prefix_tokens=True, norm=True, output_fmt="NLC", intermediates_only=True
        )
        torch.testing.assert_close(torch.cat([prefix, tokens], 1), states)

    def test_modalities_may_be_missing_and_others_inform_the_map(self, tiny, values):
        backbone = am.backbone(tiny, ["rgb", "depth"], features_only=True, out_indices=1)
        tensors = backbone.preprocess({name: values[name] for name in ("rgb", "depth")})
        (both,), (alone,) = backbone(tensors), backbone({"rgb": tensors["rgb"]})
        assert both.shape == alone.shape == (1, backbone.num_features, CELLS, CELLS)
        assert (both - alone).abs().max() > 0.01

    @pytest.mark.parametrize("names", [["near", "far"], ["far", "near"]], ids="+".join)
    def test_maps_are_those_of_the_first_modality_that_is_given(self, names):
        near, far = am.photograph("near", size=32, patch=8)(), am.photograph("far", size=64, patch=8)()
        config = ModelConfig(dim=32, encoder_depth=2, decoder_depth=1, heads=2, registers=2)
        model, sides = am.AnyModel(am.ModalitySet([near, far]), config), {"near": 32, "far": 64}
        given = {names[1]: torch.rand(2, 3, sides[names[1]], sides[names[1]])}
        (expected,) = am.backbone(model, names[1], features_only=True, out_indices=1)(given)
        (found,) = am.backbone(model, names, features_only=True, out_indices=1)(given)
        torch.testing.assert_close(found, expected)

    def test_gradients_reach_blocks_and_pixels(self):
        backbone, x = am.backbone(registered()), torch.rand(1, 3, 32, 32, requires_grad=True)
        backbone(x).square().sum().backward()
        assert x.grad is not None and x.grad.abs().max() > 0
        assert all(weight.grad is not None for name, weight in backbone.named_parameters())


class TestShape:
    def test_what_segmentation_code_asks(self, tiny):
        backbone = am.backbone(tiny, "rgb", features_only=True, out_indices=(0, -1))
        maps = backbone(torch.zeros(2, 3, SIDE, SIDE))
        assert [m.shape[1] for m in maps] == backbone.feature_info.channels() == [backbone.num_features] * 2
        assert [SIDE // m.shape[2] for m in maps] == backbone.feature_info.reduction() == [PATCH] * 2

    def test_another_size_reads_places_between_those_of_the_model(self):
        model = registered()
        wide = am.backbone(model, size=(48, 64), features_only=True, out_indices=1)
        assert wide(torch.rand(1, 3, 48, 64))[0].shape == (1, 32, 6, 8)
        same = am.backbone(model, size=32)
        x = torch.rand(1, 3, 32, 32)
        assert torch.equal(same(x), am.backbone(model)(x))
        large = am.backbone(model, size=64)
        assert large.preprocess({"view": np.zeros((80, 100, 3), np.uint8)})["view"].shape == (1, 3, 64, 64)

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"modalities": ["caption"]}, "'caption' is none"),
            ({"modalities": ["depth"], "size": 2 * SIDE}, "read as tokens"),
            ({"modalities": ["rgb"], "size": SIDE - PATCH // 2}, f"do not split into patches of {PATCH}"),
            ({"modalities": ["rgb", "rgb"]}, "each once"),
            ({"out_indices": [99]}, "from 0 to"),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_said(self, options, sentence):
        model = am.load("tiny", modalities=["rgb", "depth", "caption"])
        with pytest.raises(am.ConfigError, match=sentence):
            am.backbone(model, **options)

    def test_tensors_of_another_size_are_refused(self, tiny):
        with pytest.raises(am.ValueProblem, match=f"no grid of {CELLS} x {CELLS}"):
            am.backbone(tiny, "rgb")(torch.zeros(1, 3, SIDE + PATCH, SIDE))
        with pytest.raises(am.ConfigError, match=r"'rbg' is not read by this backbone.*rgb"):
            am.backbone(tiny, "rgb")({"rbg": torch.zeros(1, 3, SIDE, SIDE)})


@pytest.mark.slow
def test_it_is_exported_for_any_batch(tiny, values):
    names = ["rgb", "semseg"]
    backbone = am.backbone(tiny, names)
    tensors = backbone.preprocess([{name: values[name] for name in names}] * 3)
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(backbone, (tensors,), dynamic_shapes=({name: {0: batch} for name in names},))
    more = {name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in tensors.items()}
    torch.testing.assert_close(exported.module()(more), backbone(more), atol=1e-4, rtol=1e-4)


def segmentation_accuracy(body: nn.Module, channels: int, reduction: int) -> float:
    """The held-out accuracy of a linear head over the maps of a frozen body, which returns a list of them."""
    scenes = [render(index, 64, SIDE) for index in range(36)]
    pictures = torch.stack([torch.from_numpy(s.rgb).movedim(-1, 0) / 127.5 - 1 for s in scenes])
    middle = slice(reduction // 2, None, reduction)
    labels = torch.stack([torch.from_numpy(s.semseg[middle, middle].astype(np.int64)) for s in scenes])
    torch.manual_seed(0)
    head = nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, 256, 1))
    optimizer = torch.optim.AdamW(head.parameters(), 0.01)
    with torch.no_grad():
        maps = body(pictures)[-1]
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(maps[:24]), labels[:24]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((head.eval()(maps[24:]).argmax(1) == labels[24:]).float().mean())


def test_a_head_on_a_frozen_model_beats_the_same_on_pixels(tiny):
    class Pixels(nn.Module):
        def forward(self, x):
            return [nn.functional.pixel_unshuffle(x, PATCH)]

    backbone = am.backbone(tiny, "rgb", features_only=True, out_indices=1)
    with one_thread():
        channels, reduction = backbone.feature_info.channels()[-1], backbone.feature_info.reduction()[-1]
        known = segmentation_accuracy(backbone, channels, reduction)
        pixels = segmentation_accuracy(Pixels(), 3 * PATCH**2, PATCH)
    assert known > pixels + 0.2
