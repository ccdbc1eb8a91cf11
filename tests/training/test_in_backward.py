"""Weights that move inside the backward pass: the numbers of ordinary steps, and never all gradients at once."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.engine import Engine
from anymodal.training.multimodal.lora import add_adapters
from anymodal.training.multimodal.start import LoraConfig
from anymodal.training.multimodal.warm_start import frozen_names
from anymodal.training.optim import OPTIMIZERS, AdamWConfig, OptimizerConfig
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.settings import ParallelConfig, SavingConfig, TrainingSettings

LAYOUT = Layout([Stream("a", "a", TokenSpace.grid(40, 4, 4)), Stream("b", "b", TokenSpace.grid(30, 4, 4))])
SETTINGS = TrainingSettings(
    steps=5, batch_size=4, lr=1e-2, precision="float32", clip=0, explosion=0, ema=0.9, save_every=3, log_every=1
)
CPU = Runtime(device="cpu", saving=SavingConfig(background=False))
WAYS: list[dict[str, Any]] = [
    {"name": "adamw"},
    {"name": "adamw", "tables": "rows"},
    {"name": "adamw", "moments": "bfloat16"},
    {"name": "adamw", "tables": "rows", "moments": "8bit"},
    {"name": "muon"},
]


def batch(number: int) -> Packed:
    rng = np.random.default_rng(number)
    samples = []
    for _ in range(4):
        packer = Packer(LAYOUT)
        packer.add_input("a", rng.integers(0, 40, 5), rng.permutation(16)[:5])
        packer.add_grid_target("b", rng.integers(0, 30, 6), rng.permutation(16)[:6])
        samples.append(packer.pack())
    return collate(samples, LAYOUT)


def batches(first: int) -> Iterator[Packed]:
    return (batch(number) for number in range(first, 10**6))


def loss(model: nn.Module, packed: Packed) -> dict[str, Tensor]:
    return {"loss": torch.stack(list(model(packed).values())).mean()}


def engine(optimizer: OptimizerConfig, out: Any = None, runtime: Runtime = CPU, **facts: Any) -> Engine[Transformer]:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(dim=16, encoder_depth=2, decoder_depth=1, heads=2), LAYOUT)
    return Engine(model, attrs.evolve(SETTINGS, optimizer=optimizer), out, runtime, WeightFacts(**facts))


def same(first: Engine[Any], second: Engine[Any]) -> bool:
    mine, other = first.weights(), second.weights()
    return all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way.values()))
def test_the_result_is_that_of_steps_taken_afterwards(way: dict[str, Any], recomputed: bool) -> None:
    runtime = attrs.evolve(CPU, parallel=ParallelConfig(checkpoint_activations=recomputed))
    plain = engine(OPTIMIZERS(way), runtime=runtime)
    plain.run(batches, loss)
    moved = engine(OPTIMIZERS({**way, "in_backward": True}), runtime=runtime)
    held = []
    for parameter in moved.model.parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda _: held.append(sum(p.grad is not None for p in moved.model.parameters()))
        )
    moved.run(batches, loss)
    assert same(plain, moved) and max(held) <= 1  # after those of the engine, which free what they used
    assert moved.progress.usual == pytest.approx(plain.progress.usual, rel=1e-5)


def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(tmp_path: Any) -> None:
    way = OPTIMIZERS({"name": "adamw", "in_backward": True})
    whole = engine(way)
    whole.run(batches, loss)
    first = engine(way, tmp_path)
    first.settings = attrs.evolve(first.settings, max_minutes=1e-9)
    while first.step < 1:
        first.run(batches, loss)
    assert not first.finished
    again = engine(way, tmp_path)
    again.run(batches, loss, resume=True)
    assert same(whole, again)


def killed_inside_a_backward_pass(optimizer: OptimizerConfig, out: Any, step: int, weights: int) -> bool:
    """Whether a child process was killed in that step of a run, when so many of its weights had moved."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    doomed, moved = engine(optimizer, out), []

    def count(parameter: Tensor) -> None:
        moved.append(parameter)
        if doomed.step == step and len(moved) == weights:
            os.kill(os.getpid(), signal.SIGKILL)

    for parameter in doomed.model.parameters():
        parameter.register_post_accumulate_grad_hook(count)

    def counted(model: nn.Module, packed: Packed) -> dict[str, Tensor]:
        moved.clear()
        return loss(model, packed)

    try:
        doomed.run(batches, counted)
    finally:
        os._exit(0)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way.values()))
def test_a_run_that_was_killed_inside_a_backward_pass_goes_on_from_its_checkpoint(
    way: dict[str, Any], tmp_path: Any
) -> None:
    optimizer, begun = OPTIMIZERS({**way, "in_backward": True}), []
    whole = engine(optimizer)
    whole.run(batches, loss)
    assert killed_inside_a_backward_pass(optimizer, tmp_path, step=4, weights=5)
    again = engine(optimizer, tmp_path)
    again.run(lambda first: begun.append(first) or batches(first), loss, resume=True)
    assert begun == [SETTINGS.save_every] and again.finished
    assert same(whole, again)
    state, other = whole.model.state_dict(), again.model.state_dict()  # what `weights` are an average of
    assert all(torch.equal(state[name], other[name]) for name in state)


def adapted(optimizer: OptimizerConfig, out: Any, runtime: Runtime) -> Engine[Transformer]:
    """An engine of a model of which adapters and the output table are trained."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(dim=16, encoder_depth=2, decoder_depth=1, heads=2), LAYOUT)
    add_adapters(model, LoraConfig(rank=2, alpha=4.0, dropout=0.1, also=("output_table",)))
    facts = WeightFacts(frozen=frozen_names(model))
    return Engine(model, attrs.evolve(SETTINGS, optimizer=optimizer), out, runtime, facts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("compiled", [False, True], ids=["as it is", "compiled"])
def test_compiled_or_with_adapters_it_is_the_same_and_goes_on_after_a_stop(
    compiled: bool, lora: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lora:
        pytest.importorskip("peft")
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    runtime = attrs.evolve(CPU, parallel=ParallelConfig(compile=compiled))
    make = adapted if lora else engine
    plain = make(OPTIMIZERS({"name": "adamw"}), None, runtime)
    plain.run(batches, loss)
    way = OPTIMIZERS({"name": "adamw", "in_backward": True})
    whole = make(way, None, runtime)
    whole.run(batches, loss)
    assert same(plain, whole)
    stopped = make(way, tmp_path, runtime)
    stopped.settings = attrs.evolve(stopped.settings, max_minutes=1e-9)
    while stopped.step < 2:
        stopped.run(batches, loss, resume=stopped.step > 0)
    assert not stopped.finished
    again = make(way, tmp_path, runtime)
    again.run(batches, loss, resume=True)
    assert same(whole, again)


def test_parameters_that_a_step_leaves_alone_stay() -> None:
    moved = engine(OPTIMIZERS({"in_backward": True}), unused=lambda step: [parameters[0]])
    parameters = list(moved.model.parameters())
    before = [p.detach().clone() for p in parameters]
    moved.run(batches, loss)
    assert torch.equal(before[0], parameters[0])
    assert not torch.equal(before[-1], parameters[-1])


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_moves_nothing_and_is_counted(where: str) -> None:
    moved = engine(OPTIMIZERS({"in_backward": True}))

    def sometimes(model: nn.Module, packed: Packed) -> dict[str, Tensor]:
        found = loss(model, packed)["loss"]
        if moved.step == 2:
            # The root of zero is zero, and its slope is not finite.
            found = found * math.nan if where == "loss" else found + (found * 0).sqrt()
        return {"loss": found}

    moved.run(batches, sometimes)
    assert moved.skipped == 1
    assert all(p.isfinite().all() for p in moved.model.parameters())


@pytest.mark.parametrize(("name", "value"), [("clip", 1.0), ("explosion", 10.0), ("accumulate", 2)])
def test_what_needs_all_gradients_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"in_backward .* {name} is {value}; set {name}: "):
        attrs.evolve(SETTINGS, optimizer=OPTIMIZERS({"in_backward": True}), **{name: value})
    attrs.evolve(SETTINGS, **{name: value})


def test_it_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="in_backward must be true or false, got 'yes'"):
        AdamWConfig(in_backward="yes")  # type: ignore[arg-type]


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="in_backward works with one process, and these are 2"):
        OPTIMIZERS({"in_backward": True}).check(2)
