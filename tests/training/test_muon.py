"""Muon is PyTorch's, in the numbers that the device multiplies fast."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.nn.device import fast_precision
from anymodal.training import muon
from anymodal.training.muon import Muon, orthogonal

SHAPES = ((24, 8), (8, 24), (16, 16), (1, 5))


def trained(kind: Any, **options: Any) -> list[torch.Tensor]:
    """Matrices after four steps with the same gradients, the third of which one matrix has none of."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = kind(matrices, lr=0.02, weight_decay=0.1, momentum=0.9, **options)
    for step in range(4):
        for number, matrix in enumerate(matrices):
            gradient = torch.randn(matrix.shape, generator=generator)
            matrix.grad = None if (step, number) == (2, 1) else gradient
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_it_is_that_of_pytorch(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(muon, "fast_precision", lambda device: precision)
    theirs = trained(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    for mine, other in zip(trained(Muon), theirs, strict=True):
        if precision == "bfloat16":
            assert torch.equal(mine, other)
        torch.testing.assert_close(mine, other, atol=0.02, rtol=0)


def test_float32_is_used_where_bfloat16_is_slow() -> None:
    matrix = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    assert orthogonal(matrix).dtype == getattr(torch, fast_precision(matrix.device))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.sampled_from([1e-6, 1.0, 1e6]))
def test_all_directions_of_an_update_are_about_as_long(rows: int, columns: int, seed: int, size: float) -> None:
    matrix = size * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(orthogonal(matrix).float())
    clear = torch.linalg.svdvals(matrix) > 0.05 * torch.linalg.matrix_norm(matrix)
    assert (values[clear] > 0.6).all() and (values < 1.35).all()


def test_moments_are_those_of_pytorch_so_that_runs_go_on() -> None:
    matrices = [torch.nn.Parameter(torch.ones(4, 3))]
    mine, theirs = Muon(matrices, 0.1, 0.0, 0.9), torch.optim.Muon(matrices, 0.1, momentum=0.9)
    matrices[0].grad = torch.ones(4, 3)
    mine.step()
    theirs.load_state_dict({"state": mine.state_dict()["state"], "param_groups": theirs.state_dict()["param_groups"]})
    assert torch.equal(theirs.state[matrices[0]]["momentum_buffer"], torch.full((4, 3), 0.1))
