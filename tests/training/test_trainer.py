"""Training an any-to-any model: the loss it minimizes, what it skips, what it measures and writes on the way."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processor_time import patience
from small_runs import ALONE, torchrun
from torch import Tensor

from anymodal.data.batches import Batch
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout, collate
from anymodal.training.engine import Engine
from anymodal.training.log import read_log
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.runtime import Runtime
from anymodal.training.settings import ParallelConfig, SavingConfig, TrainingSettings
from anymodal.training.stored import best_checkpoint
from anymodal.training.trackers import TensorBoard, TrackingConfig, trackers

LAYOUT = Layout(
    [
        Stream("a.pixels", "a", DenseSpace.grid(6, 2, 3), target=False),
        Stream("a", "a", TokenSpace.grid(16, 2, 3)),
        Stream("b", "b", TokenSpace.grid(9, 2, 2)),
        Stream("t", "t", TokenSpace.sequence(50, 10, sentinels=(4, 10), end=3)),
    ]
)
MASKING = MaskingConfig(
    input_tokens=5,
    target_tokens=6,
    components=(
        Component(inputs={"a.pixels": 1, "t": 1}, targets={"a": 1, "t": 1}),
        Component(inputs={"a": 1}, targets={"b": 1, "t": 0.1}),
    ),
)
CPU = Runtime(device="cpu")
SETTINGS = TrainingSettings(steps=6, batch_size=4, lr=1e-2, precision="float32", log_every=1, save_every=3)


def sample(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "a.pixels": rng.random((6, 6), np.float32),
        "a": rng.integers(0, 16, 6),
        "b": rng.integers(0, 9, 4),
        "t": np.append(rng.integers(11, 50, 7), 3),
    }


def rows(seed: int, count: int) -> list[Any]:
    masker = Masker(LAYOUT, MASKING)
    return [masker(sample(rng), rng, row % 2) for row, rng in enumerate(np.random.default_rng(seed).spawn(count))]


def batches(start: int) -> Any:
    while True:
        yield Batch(collate(rows(start, SETTINGS.batch_size), LAYOUT))
        start += 1


def model(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(ModelConfig(dim=16, encoder_depth=2, decoder_depth=1, heads=2), LAYOUT)


class TestLoss:
    @settings(max_examples=20)
    @given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def test_shares_of_any_parts_add_up_to_the_whole(self, seed: int, sizes: list[int]) -> None:
        net, objective, packed = model(), MaskedLoss(LAYOUT, {"t": 2}), rows(seed, sum(sizes))
        whole = Batch(collate(packed, LAYOUT))
        ends = np.cumsum([0, *sizes])
        parts = [Batch(collate(packed[a:b], LAYOUT)) for a, b in itertools.pairwise(ends)]
        totals = objective.totals(parts)
        assert torch.equal(totals, objective.totals([whole]))
        expected = objective(net, whole, totals)
        shares = [objective(net, part, totals) for part in parts]
        assert all(share.keys() == expected.keys() for share in shares)
        for name, value in expected.items():
            total = sum(share[name].item() for share in shares)
            assert total == pytest.approx(value.item(), abs=1e-5)

    def test_is_the_weighted_mean_of_the_streams_that_are_there(self) -> None:
        net, batch = model(), Batch(collate(rows(0, 8), LAYOUT))
        means = net(batch.packed)
        objective = MaskedLoss(LAYOUT, {"t": 3})
        metrics = objective(net, batch, objective.totals([batch]))
        expected = (means["a"] + means["b"] + 3 * means["t"]) / 5
        assert metrics["loss"].item() == pytest.approx(expected.item(), abs=1e-6)

    def test_every_weight_has_a_gradient_whatever_the_batch_holds(self) -> None:
        net = model().train()
        masker = Masker(LAYOUT, attrs.evolve(MASKING, target_tokens=0))
        rng = np.random.default_rng(0)
        nothing = collate([masker(sample(rng), rng, 1)], LAYOUT, target_tokens=1)
        objective = MaskedLoss(LAYOUT)
        objective(net, Batch(nothing), torch.ones(4))["loss"].backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []
        assert all(float(p.grad.abs().sum()) == 0 for p in net.parameters())


class TestTheSameResult:
    @pytest.mark.filterwarnings("ignore")  # of the compiler
    @pytest.mark.parametrize(
        "parallel",
        [{"checkpoint_activations": True}, pytest.param({"compile": True}, marks=pytest.mark.slow)],
        ids=str,
    )
    def test_however_blocks_are_run(self, parallel: dict[str, bool], tmp_path: Path) -> None:
        near = 1e-4 if parallel.get("compile") else 2e-5  # compiled sums are in another order, for six steps of 1e-2

        def run(**options: bool) -> dict[str, torch.Tensor]:
            engine = Engine(model(), SETTINGS, runtime=Runtime(device="cpu", parallel=ParallelConfig(**options)))
            engine.run(batches, MaskedLoss(LAYOUT))
            return engine.weights()

        plain = run()
        for name, value in run(**parallel).items():
            torch.testing.assert_close(value, plain[name], atol=near, rtol=2e-4)

    def test_unknown_strategies_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="ddp, fsdp"):
            ParallelConfig(strategy="pipeline")  # type: ignore[arg-type]


def spoiled(kind: str, at: tuple[int, ...]) -> Callable[..., Any]:
    """A function of a step whose loss is not finite, or far too large, at some steps."""

    def step(net: torch.nn.Linear, x: torch.Tensor) -> dict[str, torch.Tensor]:
        number = int(x[0, 0])
        factor = {"nan": math.nan, "explosion": 1e6}[kind] if number in at else 1.0
        return {"loss": net(x[:, 1:]).square().mean() * factor}

    return step


def numbered(start: int) -> Any:
    while True:
        noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(start))
        yield torch.cat([torch.full((4, 1), float(start)), noise], 1)
        start += 1


class TestSkippedSteps:
    @pytest.mark.parametrize("kind", ["nan", "explosion"])
    def test_are_reported_and_the_same_in_a_second_run(self, kind: str, tmp_path: Path) -> None:
        def run(out: Path) -> Engine[torch.nn.Linear]:
            torch.manual_seed(0)
            plan = attrs.evolve(SETTINGS, steps=40, clip=0.0)
            engine = Engine(torch.nn.Linear(3, 2), plan, out, runtime=Runtime(device="cpu", verbose=True))
            engine.run(numbered, spoiled(kind, (25, 30)))
            return engine

        first, second = run(tmp_path / "first"), run(tmp_path / "second")
        assert first.skipped == second.skipped == 2
        records = [read_log(tmp_path / name / "log.jsonl") for name in ("first", "second")]
        timeless = [[{k: r[k] for k in ("step", "skipped", "lr")} for r in record] for record in records]
        assert timeless[0] == timeless[1] and timeless[0][25]["skipped"] == 1
        assert all(torch.equal(v, second.weights()[k]) for k, v in first.weights().items())
        assert all(v.isfinite().all() for v in first.weights().values())

    def test_are_said_to_people(self, capsys: pytest.CaptureFixture[str]) -> None:
        engine = Engine(
            torch.nn.Linear(3, 2), attrs.evolve(SETTINGS, steps=8), runtime=Runtime(device="cpu", verbose=True)
        )
        engine.run(numbered, spoiled("nan", (5,)))
        assert "step 6 skipped: loss nan" in capsys.readouterr().err


class TestUnusableSamples:
    @staticmethod
    def run(out: Path, share: float, every: int, resume: bool = False, steps: int = 300) -> Engine[Transformer]:
        def some_bad(start: int) -> Any:
            for number, batch in enumerate(batches(start), start):
                problems = (f"shard-00000.tar: member {number}.jpg: truncated",) if number % every == 0 else ()
                yield attrs.evolve(batch, problems=problems)
                if number >= steps:
                    return

        plan = attrs.evolve(SETTINGS, steps=steps, max_bad=share, log_every=10, save_every=10, schedule="constant")
        engine = Engine(model(), plan, out, runtime=CPU)
        engine.run(some_bad, MaskedLoss(LAYOUT), resume=resume)
        return engine

    def test_are_counted_and_named(self, tmp_path: Path) -> None:
        self.run(tmp_path, 0.05, every=10, steps=20)
        self.run(tmp_path, 0.05, every=10, steps=40, resume=True)
        assert [record["bad_samples"] for record in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
        named = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
        assert [record["step"] for record in named] == [1, 11, 21, 31]
        assert "member 10.jpg: truncated" in named[1]["problem"]

    def test_stop_the_run_when_there_are_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"11 of 44 samples could not be used, more than max_bad = 0\.01.*10\.jpg"):
            self.run(tmp_path, 0.01, every=1)


class TestEvaluation:
    def test_best_checkpoints_are_those_of_the_lowest_loss(self, tmp_path: Path) -> None:
        losses = iter([0.5, 0.3, 0.1, 0.2, 0.4, 0.6])
        plan = attrs.evolve(SETTINGS, save_every=100)
        engine = Engine(model(), plan, tmp_path, runtime=Runtime(device="cpu", saving=SavingConfig(keep=1, best=1)))
        engine.run(batches, MaskedLoss(LAYOUT), evaluate=lambda _: {"loss": next(losses)}, evaluate_every=1)
        assert best_checkpoint(tmp_path / "checkpoints").name == "step-00000003"
        kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert kept == ["step-00000003", "step-00000006"]
        assert [r["loss"] for r in read_log(tmp_path / "evaluation.jsonl")] == [0.5, 0.3, 0.1, 0.2, 0.4, 0.6]

    def test_a_run_goes_back_to_its_best_weights(self, tmp_path: Path) -> None:
        seen: list[Tensor] = []

        def rising(engine: Engine[Transformer]) -> dict[str, float]:
            seen.append(engine.model.context_proj.weight.clone())
            return {"loss": float(engine.step)}

        plan = attrs.evolve(SETTINGS, ema=0.5)
        engine = Engine(model(), plan, tmp_path, runtime=Runtime(device="cpu", saving=SavingConfig(best=1)))
        engine.run(batches, MaskedLoss(LAYOUT), evaluate=rising, evaluate_every=2)
        assert not torch.equal(engine.weights()["context_proj.weight"], seen[0])
        engine.take_best()
        assert torch.equal(engine.weights()["context_proj.weight"], seen[0])
        with pytest.raises(CheckpointError, match="keeps no checkpoint that was evaluated"):
            Engine(model(), plan, tmp_path / "new", CPU).take_best()

    def test_sees_the_averaged_weights_and_leaves_the_others(self) -> None:
        seen = {}

        def look(engine: Engine[Transformer]) -> dict[str, float]:
            seen["weight"] = engine.model.context_proj.weight.clone()
            seen["training"] = engine.model.training
            return {"loss": 0.0}

        engine = Engine(model(), attrs.evolve(SETTINGS, ema=0.9), runtime=CPU)
        engine.run(batches, MaskedLoss(LAYOUT), evaluate=look, evaluate_every=6)
        assert torch.equal(seen["weight"], engine.weights()["context_proj.weight"]) and not seen["training"]
        assert not torch.equal(seen["weight"], engine.model.context_proj.weight) and engine.model.training


class TestTracking:
    def test_tensorboard_has_the_numbers_and_pictures(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        with trackers(TrackingConfig(tensorboard=True), tmp_path, {}) as (tracker,):
            engine = Engine(model(), SETTINGS, tmp_path / "run", runtime=Runtime(device="cpu", trackers=(tracker,)))
            engine.run(batches, MaskedLoss(LAYOUT), evaluate=lambda _: {"loss": 0.25}, evaluate_every=3)
            tracker.picture(6, "samples", Image.new("RGB", (8, 4), (255, 0, 0)))
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        logged = [record["loss"] for record in read_log(tmp_path / "run" / "log.jsonl")]
        assert [event.value for event in events.Scalars("loss")] == pytest.approx(logged)
        assert [(e.step, e.value) for e in events.Scalars("evaluation/loss")] == [(3, 0.25), (6, 0.25)]
        assert (events.Images("samples")[0].width, events.Images("samples")[0].height) == (8, 4)

    @pytest.mark.parametrize(("wandb", "words"), [("project", "pip install wandb"), (None, "cannot begin")])
    def test_what_was_opened_is_closed_where_a_run_does_not_begin(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wandb: str | None, words: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "wandb", None)
        close, closed = TensorBoard.close, []
        monkeypatch.setattr(TensorBoard, "close", lambda self: closed.append(close(self)))
        config = TrackingConfig(tensorboard=True, wandb=wandb)
        with pytest.raises(ConfigError, match=words), trackers(config, tmp_path, {}):
            raise ConfigError("it cannot begin")
        assert len(closed) == 1


MEMORY = """
import torch
from torch import nn
from anymodal.training.engine import Engine
from anymodal.training.runtime import Runtime
from anymodal.nn.distributed import world
from anymodal.training.settings import ParallelConfig
from anymodal.training.settings import TrainingSettings

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(1024, 1024) for _ in range(48))
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

with world() as processes:
    with torch.device("cpu" if processes.is_first else "meta"):
        net = Net()
    plan = TrainingSettings(3, 8, 1e-3, precision="float32", ema=0.9)
    engine = Engine(net, plan, runtime=Runtime(world=processes, parallel=ParallelConfig(strategy="fsdp")))
    engine.run(iter(lambda: torch.ones(8 // processes.size, 1024), None), lambda m, x: {"loss": m(x).square().mean()})
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    if processes.rank == processes.size - 1:
        print(peak / 1024)
"""


@pytest.mark.slow
def test_fsdp_takes_less_memory_the_more_processes_there_are(tmp_path: Path) -> None:
    """Peak resident memory of the last process in mebibytes, from its start to its end.

    Weights, gradients, two moments and averages have 201 MB each; the first process alone ever has whole weights.
    """
    script = tmp_path / "memory.py"
    script.write_text(MEMORY)
    peaks = []
    for processes in (1, 2, 4):
        # Freed memory goes back to the system at once: what is measured is what is used.
        environment = {**ALONE, "MALLOC_MMAP_THRESHOLD_": "65536"}
        words = [*torchrun(processes), str(script)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience(300), env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(float(done.stdout.split()[-1]))
    assert peaks[1] < peaks[0] - 300 and peaks[2] < peaks[1] - 100
