"""Tables trained by rows: equal to AdamW where all rows are touched, and nothing happens where none is."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anymodal.errors import ConfigError
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.checkpoint import optimizer_tensors
from anymodal.training.engine import Engine
from anymodal.training.in_backward import StepsInBackward
from anymodal.training.optim import OPTIMIZERS, AdamWConfig
from anymodal.training.runtime import Runtime
from anymodal.training.settings import SavingConfig, TrainingSettings
from anymodal.training.sparse_adamw import RowAdamW, check_rows, clip_gradients, touched

LAYOUT = Layout(
    [
        Stream("a", "a", TokenSpace.grid(40, 4, 4)),
        Stream("b", "b", TokenSpace.grid(30, 4, 4)),
        Stream("t", "t", TokenSpace.sequence(50, 10, sentinels=(4, 10), end=3)),
    ]
)
CONFIG = ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2)
CPU = Runtime(device="cpu", saving=SavingConfig(background=False))
SETTINGS = TrainingSettings(
    steps=6,
    batch_size=4,
    lr=1e-2,
    precision="float32",
    optimizer=AdamWConfig(tables="rows"),
    save_every=3,
    log_every=1,
    ema=0.9,
)
seeds = st.integers(0, 2**32)


def batch(number: int) -> Packed:
    """Tokens of `a` and `t` in, and of all streams out."""
    rng = np.random.default_rng(number)
    samples = []
    for _ in range(4):
        packer = Packer(LAYOUT)
        packer.add_input("a", rng.integers(0, 40, 5), rng.permutation(16)[:5])
        packer.add_input("t", rng.integers(20, 50, 3), np.arange(3))
        packer.add_grid_target("a", rng.integers(0, 40, 4), rng.permutation(16)[:4])
        packer.add_grid_target("b", rng.integers(0, 30, 4), rng.permutation(16)[:4])
        packer.add_sequence_target("t", rng.integers(20, 50, 4))
        samples.append(packer.pack())
    return collate(samples, LAYOUT)


def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG, LAYOUT)


def loss(net: nn.Module, packed: Packed) -> torch.Tensor:
    return torch.stack(list(net(packed).values())).mean()


def step(net: nn.Module, packed: Packed) -> dict[str, torch.Tensor]:
    return {"loss": loss(net, packed)}


def batches(start: int):
    number = start
    while True:
        yield batch(number)
        number += 1


@given(seeds, st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.floats(0, 0.5), st.booleans())
@settings(max_examples=40)
def test_with_all_rows_touched_it_is_adamw(seed, rows, width, steps, decay, sparse):
    torch.manual_seed(seed)
    start = torch.randn(rows, width, dtype=torch.float64)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = {"lr": 0.03, "betas": (0.8, 0.9), "weight_decay": decay}
    by_rows, adamw = RowAdamW([ours], **options), torch.optim.AdamW([theirs], **options)
    for _ in range(steps):
        gradient = torch.randn(rows, width, dtype=torch.float64)
        theirs.grad = gradient.clone()
        shuffled = torch.randperm(rows)
        ours.grad = (
            torch.sparse_coo_tensor(shuffled[None], gradient[shuffled], check_invariants=True) if sparse else gradient
        )
        by_rows.step()
        adamw.step()
    assert torch.allclose(ours, theirs, atol=1e-12, rtol=1e-9)
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.allclose(by_rows.state[ours][name], adamw.state[theirs][name], atol=1e-12)


@given(seeds, st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=1, max_size=5))
@settings(max_examples=40)
def test_a_row_knows_only_the_steps_that_touch_it(seed, visits):
    """Every row moves as a table of one row would by AdamW in the steps that touch it; others keep every bit."""
    torch.manual_seed(seed)
    start = torch.randn(8, 3)
    table, weights = nn.Parameter(start.clone()), torch.randn(len(visits), 5, 3)
    optimizer = RowAdamW([table], lr=0.1, weight_decay=0.1)
    alone = [nn.Parameter(row.clone()) for row in start]
    adamw = [torch.optim.AdamW([row], lr=0.1, weight_decay=0.1) for row in alone]
    for ids, scale in zip(visits, weights, strict=True):
        (F.embedding(torch.tensor(ids, dtype=torch.long), table, sparse=True) * scale[: len(ids)]).sum().backward()
        for row in set(ids):
            alone[row].grad = scale[: len(ids)][torch.tensor(ids) == row].sum(0)
            adamw[row].step()
        optimizer.step()
        optimizer.zero_grad()
    never = [row for row in range(8) if not any(row in ids for ids in visits)]
    assert torch.equal(table[never], start[never])
    assert not any(optimizer.state[table][name][never].any() for name in optimizer.state[table])
    assert torch.allclose(table, torch.stack(list(alone)), atol=1e-5)


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=20)
def test_sparse_gradients_are_as_long_and_are_clipped_as_dense_ones(seed, limit):
    torch.manual_seed(seed)
    ids, table, weight = torch.randint(0, 9, (6,)), torch.randn(9, 4), torch.randn(4, 4)
    found = []
    for sparse in (False, True):
        parameters = [nn.Parameter(table.clone()), nn.Parameter(weight.clone())]
        (F.embedding(ids, parameters[0], sparse=sparse) @ parameters[1]).square().sum().backward()
        norm = clip_gradients(parameters, limit) if sparse else nn.utils.clip_grad_norm_(parameters, limit)
        found.append([norm, *(p.grad.to_dense() for p in parameters)])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*found, strict=True))


def test_lengths_of_large_gradients_are_exact():
    table = nn.Parameter(torch.zeros(2**12, 2**12))
    table.grad = torch.full_like(table, 0.1)
    norm = clip_gradients([table], math.inf)
    assert abs(norm.item() / (0.1 * 2**12) - 1) < 1e-5 and torch.equal(table.grad, torch.full_like(table, 0.1))
    table.grad = None
    within = StepsInBackward([torch.optim.SGD([table], lr=1.0)])
    within.begin(torch.tensor(0.0), [])
    (0.1 * table).sum().backward()
    assert abs(within.end().item() / (0.1 * 2**12) - 1) < 1e-5


def test_a_dense_gradient_touches_the_rows_where_it_is_not_zero():
    rows, values = touched(torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]))
    assert rows.tolist() == [1, 3] and values.tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_step_of_a_model_moves_the_rows_it_looks_up_and_no_others(kind):
    net, packed = model(), batch(0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizers = OPTIMIZERS({"name": kind, "tables": "rows"}).build(net, 1e-2)
    loss(net, packed).backward()
    assert net.input_table.grad.is_sparse and net.query_table.grad.is_sparse
    for optimizer in optimizers:
        optimizer.step()
    for name, ids in (("input_table", packed.inputs.ids), ("query_table", packed.targets.ids)):
        moved = (net.get_parameter(name) != before[name]).any(1)
        assert set(moved.nonzero().flatten().tolist()) <= set(ids.flatten().tolist())
        assert moved.sum() > 5
    assert (net.output_table != before["output_table"]).any(1).all()
    trained = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert len(trained) == len(set(trained)) == len(list(net.parameters()))


def test_lookups_and_one_split_of_the_heads_have_the_gradients_of_plain_indexing():
    net, packed = model(), batch(1)
    loss(net, packed).backward()
    dense = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    net.sparse_lookups = True
    loss(net, packed).backward()
    for name, parameter in net.named_parameters():
        assert torch.allclose(parameter.grad.to_dense(), dense[name], atol=1e-7), name
    assert not dense["output_table"].isnan().any() and dense["output_table"].any(1).all()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path):
    whole = Engine(model(), SETTINGS, tmp_path / "whole", runtime=CPU)
    whole.run(batches, step)
    first = Engine(model(), SETTINGS, tmp_path / "cut", runtime=CPU)
    with pytest.raises(StopIteration):
        first.run(batches, interrupted(4))
    again = Engine(model(), SETTINGS, tmp_path / "cut", runtime=CPU)
    assert again.resume() == 3
    again.run(batches, step, resume=True)
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, again.weights()[name]), name
    states = [optimizer_tensors(engine.optimizers, engine.model) for engine in (whole, again)]
    assert states[0]["input_table/steps"].max() > 1 and states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def interrupted(after: int):
    """A step function that fails at a step, as a killed process would."""
    calls = iter(range(after))

    def fails(net: nn.Module, packed: Packed) -> dict[str, torch.Tensor]:
        next(calls)
        return step(net, packed)

    return fails


def test_by_rows_and_dense_learn_alike():
    losses = []
    for tables in ("dense", "rows"):
        net = model()
        engine = Engine(
            net, attrs.evolve(SETTINGS, steps=30, optimizer=AdamWConfig(tables=tables), ema=0.0), runtime=CPU
        )
        engine.run(lambda start: (batch(number % 3) for number in range(start, 99)), step)
        losses.append(loss(net, batch(0)).item())
    assert losses[0] < 3 and losses[1] == pytest.approx(losses[0], rel=0.1)


def test_where_rows_cannot_be_trained_the_error_says_so():
    with pytest.raises(ConfigError, match=r"one process, and these are 2"):
        check_rows("rows", 2)
    check_rows("dense", 2)
    check_rows("rows", 1)
    with pytest.raises(ConfigError, match="Linear trains no tables by rows"):
        AdamWConfig(tables="rows").build(nn.Linear(2, 2), 1e-3)
    with pytest.raises(ConfigError, match="tables must be one of dense, rows, got 'sparse'"):
        attrs.evolve(SETTINGS, optimizer={"tables": "sparse"})
