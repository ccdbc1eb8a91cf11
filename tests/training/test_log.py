"""What a run writes down of its steps."""

from __future__ import annotations

import attrs
import torch

from anymodal.nn.distributed import World, alone
from anymodal.training.log import MetricMeans


def test_what_processes_add_up_is_of_one_type(monkeypatch):
    """A process whose batch lacks a stream may have its zero as float64, and the others send float32."""
    means, sent = MetricMeans(), []
    means.add({"loss": torch.tensor(1.0), "loss.depth": torch.tensor(2.0)})
    means.add({"loss": torch.tensor(3.0), "loss.depth": torch.zeros((), dtype=torch.float64)})
    monkeypatch.setattr(World, "sum", lambda self, tensor: sent.append(tensor.dtype) or tensor)
    assert means.take(attrs.evolve(alone("cpu"))) == {"loss": 2.0, "loss.depth": 1.0}
    assert sent == [torch.float32]
