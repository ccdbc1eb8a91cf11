"""Labelers: what they need, how they load, and the clear errors when that does not work."""

from __future__ import annotations

import numpy as np
import pytest

import anymodal as am
from anymodal.modality import Modality


class Twice(am.Labeler):
    """Doubles what it gets."""

    modality, sources = "twice", ("number",)

    def label(self, samples):
        return [2 * value for value in self.values(samples, "number")]


class Sum(Modality):
    """The sum of two."""

    derived_from = ("left", "right")

    def derive(self, values):
        return values["left"] + values["right"]


class SumLabeler(am.DerivedLabeler):
    """Computed."""

    derives = Sum


class Sight(am.FeatureLabeler):
    """Its features are the pixels' means."""

    modality, checkpoint, architecture, size, patch = "sight", "someone/network", "Dinov2Model", 32, 8
    packages = ()

    def load(self):
        pass

    def features(self, pixels_BCHW):
        cells = pixels_BCHW.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))
        return cells.flatten(2).movedim(1, 2)


def test_values_are_made_from_values():
    assert Twice().label([{"number": 1, "other": 5}, {"number": 4}]) == [2, 8]
    assert SumLabeler().label([{"left": 1, "right": 2}, {"left": 3, "right": 4}]) == [3, 7]
    assert (SumLabeler.modality, SumLabeler.sources) == ("sum", ("left", "right"))


def test_a_sample_without_the_source_is_named():
    with pytest.raises(am.ValueProblem, match="labeling 'twice' needs 'number', and sample 1 has other"):
        Twice().label([{"number": 1}, {"other": 4}])


def test_a_missing_package_says_how_to_install_it():
    class Rare(Twice):
        packages = ("no_such_package_anywhere", "json")

    with pytest.raises(am.PluginError, match=r"needs no_such_package_anywhere; pip install 'anymodal\[label\]'"):
        Rare()


def test_a_checkpoint_for_a_labeler_without_weights_is_refused(tmp_path):
    with pytest.raises(am.ConfigError, match="has no weights to load"):
        Twice(tmp_path)


def test_a_folder_that_holds_no_network_is_a_checkpoint_error(tmp_path):
    for name in ("depth", "clip", "dinov2"):
        with pytest.raises(am.CheckpointError, match=f"cannot load .* to label '{name}'"):
            am.registry().labeler(name)(tmp_path, device="cpu")


def test_weights_that_could_hold_code_are_refused(tmp_path):
    """A network saved by pickle is not loaded, although the library could."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    network = Dinov2Model(Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    network.config.save_pretrained(tmp_path)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(am.CheckpointError, match="safetensors"):
        am.registry().labeler("dinov2")(tmp_path, device="cpu")


def test_weights_of_another_network_are_refused(tmp_path):
    """The library would put random numbers in their place."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    assert am.registry().labeler("clip")(tmp_path, device="cpu").model
    with pytest.raises(am.CheckpointError, match=r"cannot label 'dinov2': .* weights of Dinov2Model, such as emb"):
        am.registry().labeler("dinov2")(tmp_path, device="cpu")


def test_pictures_of_several_sizes_keep_their_order():
    rng = np.random.default_rng(0)
    shapes = [(32, 32, 3), (32, 64, 3), (64, 32, 3), (32, 64, 3)]
    pictures = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    labeler = Sight(device="cpu")
    together = labeler.label([{"rgb": p} for p in pictures])
    assert [value.shape for value in together] == [(4, 4, 3), (4, 8, 3), (8, 4, 3), (4, 8, 3)]
    for value, picture in zip(together, pictures, strict=True):
        assert np.allclose(value, labeler.label([{"rgb": picture}])[0])
        unit = picture.reshape(picture.shape[0] // 8, 8, -1, 8, 3).mean((1, 3)) / 255
        assert np.allclose(value, (unit - labeler.mean) / labeler.std, atol=1e-5)


@pytest.mark.parametrize("value", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), "a"])
def test_what_is_no_photograph_is_refused(value):
    with pytest.raises(am.ValueProblem, match=r"photographs uint8 \(H, W, 3\)"):
        Sight(device="cpu").label([{"rgb": value}])


def test_every_installed_labeler_names_an_installed_modality():
    registry = am.registry()
    assert len(registry.labelers()) >= 7
    for name in registry.labelers():
        labeler = registry.labeler(name)
        assert {labeler.modality, *labeler.sources} <= set(registry.modalities())
        assert labeler.__doc__
