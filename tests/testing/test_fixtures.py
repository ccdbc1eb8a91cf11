"""What plugins test themselves with: the fixtures of the pytest plugin, and the strategies of hypothesis."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from planted import Thermal

import anymodal as am
from anymodal.errors import UnknownModality
from anymodal.testing.strategies import modality_sets, packed_batches


def test_the_registry_is_isolated(registry):
    assert not registry.modalities()
    registry.add(Thermal)
    assert am.ModalitySet(["thermal"])["thermal"].low == 233
    with pytest.raises(UnknownModality):
        am.ModalitySet(["depth"])


@pytest.mark.parametrize("name", ["depth", "caption", "det", "human_poses", "metadata_image", "clip"])
def test_sample_values_are_natural(sample_values, name):
    values = sample_values(name)
    assert len(values) > 1
    for value in values:
        am.registry().modality(name)(**({"channels": 8} if name == "clip" else {})).accept(value)


def test_a_tiny_model_generates(tiny_model, sample_values):
    model = tiny_model("depth", "caption", Thermal)
    out = model.generate({"thermal": sample_values(Thermal)[0]}, ["depth", "caption"], seed=0)
    assert out["depth"].shape == (32, 32) and isinstance(out["caption"], str)


def test_there_is_no_network(no_network):
    import socket

    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(packed_batches())
def test_packed_batches_hold_tokens_of_their_set(drawn):
    modalities, packed = drawn
    layout = modalities.layout
    assert int(packed.inputs.ids.max()) < layout.inputs.size
    assert int(packed.inputs.streams.max()) < len(layout.streams)


@settings(max_examples=25)
@given(modality_sets())
def test_sets_lay_their_streams_side_by_side(modalities):
    assert 1 <= len(modalities) <= 4 and modalities.layout.outputs.size >= 2


def test_the_pytest_plugin_imports_nothing_heavy():
    code = "import sys, anymodal.testing.pytest_plugin; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "hypothesis", "anymodal.modality"} & set(done.stdout.split())
