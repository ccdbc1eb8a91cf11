"""The training engine: schedules, averages, skipped steps, logs, and resuming as if nothing had happened."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from small_runs import stored_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal import progress
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.nn.device import fast_precision
from anymodal.nn.distributed import alone
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.average import WeightAverage
from anymodal.training.checkpoint import (
    CheckpointFolder,
    SavingConfig,
    claimed,
)
from anymodal.training.device import to_device
from anymodal.training.engine import Engine, Runtime, TrainingDiverged
from anymodal.training.log import TrainingLog, read_log
from anymodal.training.optim import OPTIMIZERS, MuonConfig, OptimizerConfig, parameter_groups
from anymodal.training.precision import as_begun
from anymodal.training.schedules import SCHEDULES, ConstantSchedule, CosineSchedule, Schedule, TrapezoidSchedule
from anymodal.training.settings import TrainingSettings
from anymodal.training.signals import stop_requests
from anymodal.training.stored import best_checkpoint, newest_checkpoint, read_state
from anymodal.training.tokenizers.run import fit_tokenizer

CPU = Runtime(device="cpu")
SETTINGS = TrainingSettings(
    steps=10,
    batch_size=4,
    lr=1e-2,
    schedule=CosineSchedule(warmup_steps=3),
    ema=0.9,
    precision="float32",
    log_every=2,
    save_every=5,
)


class Noisy(nn.Module):
    """A small network with everything that makes resuming hard: dropout, a buffer that learns, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.drop(self.norm(self.first(x))))


class Tables(nn.Module):
    """A table that is looked up, a matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Parameter(torch.ones(6, 4)), nn.Linear(4, 3)
        self.lookups, self.sparse_lookups = (self.table,), False

    def forward(self, ids: Tensor) -> Tensor:
        return self.linear(F.embedding(ids, self.table, sparse=self.sparse_lookups))


def batches_from(start: int) -> Iterator[Tensor]:
    for index in itertools.count(start):
        yield torch.randn(4, 3, generator=torch.Generator().manual_seed(index))


def squared(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    loss = F.mse_loss(model(x), x)
    return {"loss": loss, "twice": 2 * loss}


def trained(
    out: Path | None = None, resume: bool = False, batches: Any = batches_from, **changes: Any
) -> Engine[Noisy]:
    engine = Engine(Noisy(), attrs.evolve(SETTINGS, **changes), out, runtime=CPU)
    engine.run(batches, squared, resume=resume)
    return engine


def assert_same_state(left: nn.Module, right: nn.Module) -> None:
    expected = right.state_dict()
    assert [name for name, value in left.state_dict().items() if not torch.equal(value, expected[name])] == []


def assert_same_weights(left: Engine[Any], right: Engine[Any]) -> None:
    """What the runs ended with, averages included."""
    expected = right.weights()
    assert [name for name, value in left.weights().items() if not torch.equal(value, expected[name])] == []


def interrupted_after(step: int, number: int = signal.SIGINT) -> Callable[[int], Iterator[Tensor]]:
    """Batches whose source sends this process a signal while step number `step` (from 1) is being prepared."""

    def batches(start: int) -> Iterator[Tensor]:
        for index, batch in enumerate(batches_from(start), start + 1):
            if index == step:
                os.kill(os.getpid(), number)
            yield batch

    return batches


class TestResume:
    @pytest.mark.parametrize(("accumulate", "optimizer"), [(1, "adamw"), (2, "adamw"), (1, "muon")])
    def test_equals_an_uninterrupted_run(self, tmp_path: Path, accumulate: int, optimizer: str) -> None:
        whole = trained(tmp_path / "whole", accumulate=accumulate, optimizer=optimizer)
        with pytest.raises(KeyboardInterrupt):
            batches = interrupted_after(5 * accumulate)
            trained(tmp_path / "parts", batches=batches, accumulate=accumulate, optimizer=optimizer)
        assert newest_checkpoint(tmp_path / "parts" / "checkpoints").name == "step-00000005"
        torch.manual_seed(99)
        rest = trained(tmp_path / "parts", resume=True, accumulate=accumulate, optimizer=optimizer)
        assert_same_state(rest.model, whole.model)
        assert_same_weights(rest, whole)
        assert [record["step"] for record in read_log(tmp_path / "parts" / "log.jsonl")] == [2, 4, 6, 8, 10]

    def test_a_tokenizer_too(self, tmp_path: Path) -> None:
        vit = ViTConfig(dim=8, depth=1, heads=2, patch=4)

        def run(out: Path, steps: int, resume: bool) -> VQTokenizer:
            torch.manual_seed(5)
            tokenizer = VQTokenizer(TokenizerConfig("vit", 1, vit, vit, CosineConfig(size=8, latent=4), image_size=8))
            settings = attrs.evolve(SETTINGS, steps=steps, schedule="constant", ema=0.0)
            return fit_tokenizer(tokenizer, images, "l1", settings, out, resume=resume)

        def images(start: int) -> Iterator[Tensor]:
            for index in itertools.count(start):
                yield torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(index))

        whole = run(tmp_path / "whole", 10, resume=False)
        run(tmp_path / "parts", 5, resume=False)
        assert_same_state(run(tmp_path / "parts", 10, resume=True), whole)

    def test_plain_iterables_are_read_up_to_where_the_run_stopped(self, tmp_path: Path) -> None:
        whole = trained(batches=batches_from(0))
        trained(tmp_path, batches=batches_from(0), steps=10, max_minutes=1e-9)
        rest = trained(tmp_path, batches=batches_from(0), resume=True)
        assert_same_state(rest.model, whole.model)

    def test_nothing_to_resume_is_a_start(self, tmp_path: Path) -> None:
        assert_same_state(trained(tmp_path, resume=True).model, trained().model)

    def test_a_damaged_checkpoint_is_passed_over(self, tmp_path: Path) -> None:
        trained(tmp_path)
        newest = newest_checkpoint(tmp_path / "checkpoints")
        next(newest.glob("*.safetensors")).write_bytes(b"short")
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000005"
        with pytest.raises(CheckpointError, match="incomplete"):
            read_state(newest)

    @pytest.mark.parametrize(
        "change", [{"progress": {"steps": 3}}, {"progress": {"step": "x"}}, {"settings": None}, {}]
    )
    def test_a_state_that_cannot_be_used_is_named(self, tmp_path: Path, change: dict[str, Any]) -> None:
        trained(tmp_path)
        state = newest_checkpoint(tmp_path / "checkpoints") / "state.json"
        known = json.loads(state.read_text())
        state.write_text(json.dumps({**known, **change} if change else {k: known[k] for k in known if k != "progress"}))
        with pytest.raises(CheckpointError, match=r"step-00000010 is damaged.*delete it to fall back on an older one"):
            read_state(state.parent)
        assert_same_state(trained(tmp_path, resume=True).model, trained().model)

    def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(self, tmp_path: Path) -> None:
        trained(tmp_path)
        for state in tmp_path.glob("checkpoints/*/state.json"):
            state.write_text("{")
        words = r"step-00000010 is damaged, and no older one is left; delete .* to start anew"
        with pytest.raises(CheckpointError, match=words), claimed(tmp_path, alone("cpu"), resume=True):
            pass

    @pytest.mark.parametrize("line", [b'{"loss": 1}', b"[1]", b"\xff\xfe", b'{"step": null}'])
    def test_lines_of_a_log_that_are_no_records_are_dropped(self, tmp_path: Path, line: bytes) -> None:
        trained(tmp_path, steps=5, schedule="constant")
        before = read_log(tmp_path / "log.jsonl")
        with (tmp_path / "log.jsonl").open("ab") as file:
            file.write(line + b"\n")
        trained(tmp_path, resume=True, schedule="constant")
        assert before and read_log(tmp_path / "log.jsonl")[: len(before)] == before

    def test_another_run_is_not_overwritten(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(CheckpointError, match="already holds a run"):
            trained(tmp_path)

    def test_changed_settings_are_refused_unless_harmless(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(ConfigError, match=r"lr = 0\.01, not 0\.5"):
            trained(tmp_path, resume=True, lr=0.5)
        assert trained(tmp_path, resume=True, steps=12, save_every=1).step == 12

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        trained(tmp_path)
        with pytest.raises(CheckpointError, match="another model"):
            Engine(nn.Linear(3, 3), SETTINGS, tmp_path, runtime=CPU).resume()


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_finishes_the_step_saves_and_restores_handlers(self, tmp_path: Path, number: int) -> None:
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt) if number == signal.SIGINT else nullcontext():
            trained(tmp_path, batches=interrupted_after(3, number))
        assert signal.getsignal(number) is before
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000003"

    def test_the_second_signal_is_handled_as_before(self) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        with pytest.raises(KeyboardInterrupt), stop_requests() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, before)

    def test_the_time_limit_leaves_a_checkpoint(self, tmp_path: Path) -> None:
        engine = trained(tmp_path, max_minutes=1e-9)
        assert engine.step == 1 and not engine.finished
        assert newest_checkpoint(tmp_path / "checkpoints").name == "step-00000001"

    def test_too_few_batches(self) -> None:
        with pytest.raises(DataError, match="ended at step 2 of 10"):
            trained(batches=itertools.islice(batches_from(0), 2))


class TestNonFinite:
    def test_the_step_is_left_out_and_counted(self, tmp_path: Path) -> None:
        def sometimes_nan(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
            return {"loss": model(x).sum() * (math.nan if engine.step == 4 else 1.0)}

        engine = Engine(nn.Linear(3, 1), SETTINGS, tmp_path, runtime=CPU)
        engine.run(batches_from, sometimes_nan)
        assert engine.skipped == 1
        assert all(p.isfinite().all() for p in engine.model.parameters())
        records = read_log(tmp_path / "log.jsonl")
        assert [record["skipped"] for record in records] == [0, 0, 1, 1, 1]
        assert all(math.isfinite(record["loss"]) for record in records)

    def test_twenty_in_a_row_end_the_run(self) -> None:
        engine = Engine(nn.Linear(3, 1), attrs.evolve(SETTINGS, steps=50), runtime=CPU)
        weight = engine.model.weight.clone()
        with pytest.raises(TrainingDiverged, match="up to step 20 "):
            engine.run(batches_from, lambda model, x: {"loss": model(x).sum() * math.inf})
        assert engine.step == 19
        assert torch.equal(engine.model.weight, weight)


class TestLog:
    def test_lines(self, tmp_path: Path) -> None:
        engine = Engine(Noisy(), SETTINGS, tmp_path, runtime=CPU)
        engine.run(batches_from, squared, report=lambda: {"answer": 42.0})
        records = read_log(tmp_path / "log.jsonl")
        assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
        keys = {"step", "loss", "twice", "gradient_norm", "answer", "lr", "skipped", "bad_samples"}
        keys |= {"samples_per_second", "waiting", "seconds"}
        assert all(set(record) == keys for record in records)
        assert all(record["twice"] == pytest.approx(2 * record["loss"]) for record in records)
        assert [record["lr"] for record in records[:2]] == pytest.approx([1e-2 * 2 / 3, 1e-2])
        assert all(record["samples_per_second"] > 0 for record in records)

    def test_a_cut_off_line_is_dropped_on_resume(self, tmp_path: Path) -> None:
        trained(tmp_path, steps=5, save_every=1, schedule="constant")
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": 8, "seconds": 1.0}) + '\n{"step": 9, "lo')
        trained(tmp_path, resume=True, schedule="constant")
        assert [record["step"] for record in read_log(tmp_path / "log.jsonl")] == [2, 4, 5, 6, 8, 10]

    @pytest.mark.parametrize("width", [40, 100])
    def test_all_numbers_are_seen_below_the_bar(self, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = io.StringIO()
        terminal = Console(file=screen, force_terminal=True, width=width)
        monkeypatch.setattr("rich.console.Console", lambda stderr: terminal)
        with progress.shown("bars"), TrainingLog(None, 0, 10, 4) as log:
            log.advance(4)
            log.write({"loss": 0.5, "reconstruction": 0.25, "usage": 0.875, "perplexity": 123.0})
            progress._Bar.shared.refresh()
        shown = screen.getvalue()
        assert (
            "4/10" in shown and "perplexity 123" in " ".join(shown.split()) and "usage 0.875" in " ".join(shown.split())
        )

    def test_lines_on_standard_error_only_if_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        trained()
        assert capsys.readouterr() == ("", "")
        engine = Engine(Noisy(), SETTINGS, runtime=Runtime(device="cpu", verbose=True))
        engine.run(batches_from, squared)
        written = capsys.readouterr()
        assert written.out == "" and "step 10/10" in written.err and "loss" in written.err


class TestOptimization:
    def test_schedule_values(self) -> None:
        cosine, constant = CosineSchedule(warmup_steps=4), ConstantSchedule(warmup_steps=2)
        trapezoid = TrapezoidSchedule(warmup_steps=2)
        assert [cosine.share(step, 14) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
        assert cosine.share(9, 14) == pytest.approx(0.5)
        assert cosine.share(14, 14) == pytest.approx(0)
        assert [constant.share(step, 14) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
        assert [trapezoid.share(step, 10) for step in (0, 1, 7, 8, 9, 10)] == [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
        assert ConstantSchedule().share(0, 5) == CosineSchedule().share(0, 5) == 1.0

    def test_schedules_end_at_their_minimum(self) -> None:
        cosine, trapezoid = CosineSchedule(minimum=0.1), TrapezoidSchedule(minimum=0.25, decay=0.5)
        assert [cosine.share(step, 10) for step in (0, 5, 10)] == pytest.approx([1.0, 0.55, 0.1])
        assert [trapezoid.share(step, 8) for step in (4, 6, 8)] == pytest.approx([1.0, 0.625, 0.25])

    @given(steps=st.integers(1, 10**7))
    def test_a_trapezoid_falls_over_a_fifth(self, steps: int) -> None:
        for left in {1, steps // 10, max(1, steps // 5)}:
            assert TrapezoidSchedule().share(steps - left, steps) == min(1.0, left / max(1, steps // 5))

    @pytest.mark.parametrize("kind", [CosineSchedule, TrapezoidSchedule])
    @given(steps=st.integers(1, 200), warmup=st.integers(0, 50))
    def test_schedules_rise_then_fall_within_bounds(self, kind: Any, steps: int, warmup: int) -> None:
        schedule = kind(warmup_steps=warmup)
        shares = [schedule.share(step, steps) for step in range(steps)]
        assert all(0 < share <= 1 for share in shares)
        peak = shares.index(max(shares))
        assert shares[:peak] == sorted(shares[:peak])
        assert shares[peak:] == sorted(shares[peak:], reverse=True)

    def test_only_matrices_decay(self) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        model[0].bias.requires_grad_(False)
        decayed, kept = parameter_groups(model.parameters(), 0.05)
        assert [p.shape for p in decayed["params"]] == [(4, 3)] and decayed["weight_decay"] == 0.05
        assert [p.shape for p in kept["params"]] == [(4,), (4,)] and kept["weight_decay"] == 0.0

    def test_muon_trains_the_matrices_of_linear_layers_and_adamw_the_rest(self) -> None:
        model = nn.ModuleDict({"table": nn.Embedding(4, 3), "linear": nn.Linear(3, 2), "norm": nn.LayerNorm(2)})
        adamw, muon = MuonConfig().build(model, 1e-3)
        assert [p for group in muon.param_groups for p in group["params"]] == [model["linear"].weight]
        rest = {id(p) for group in adamw.param_groups for p in group["params"]}
        assert rest == {id(p) for p in model.parameters()} - {id(model["linear"].weight)}

    @pytest.mark.parametrize("block", ["adamw", "muon", {"tables": "rows"}, {"name": "muon", "tables": "rows"}])
    def test_the_bytes_of_an_optimizer_are_those_it_comes_to_hold(self, block: Any) -> None:
        config = OPTIMIZERS(block)
        engine = Engine(Tables(), attrs.evolve(SETTINGS, optimizer=config, steps=1), runtime=CPU)
        engine.run(itertools.repeat(torch.tensor([1, 3])), lambda model, ids: {"loss": model(ids).sum()})
        slots = [slot for o in engine.optimizers for held in o.state.values() for slot in held.values()]
        with torch.device("meta"):
            outline = Tables()
        assert config.state_bytes(outline) == sum(slot.nbytes for slot in slots if slot.ndim)

    def test_another_distribution_adds_an_optimizer_and_a_schedule(self, tmp_path: Path) -> None:
        @OPTIMIZERS.add
        @attrs.frozen(kw_only=True)
        class Momentum(OptimizerConfig):
            name: str = attrs.field(init=False, default="momentum")
            decay: float = 0.5

            def build(self, model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
                return [torch.optim.SGD(model.parameters(), lr=lr, momentum=self.decay)]

        @SCHEDULES.add
        @attrs.frozen(kw_only=True)
        class Halved(Schedule):
            name: str = attrs.field(init=False, default="halved")

            def share(self, step: int, steps: int) -> float:
                return 1.0 if step < steps // 2 else 0.5

        try:
            block = {"optimizer": {"name": "momentum", "decay": 0.25}, "schedule": "halved", "steps": 4, "lr": 0.01}
            settings = structure({**block, "batch_size": 4, "log_every": 1}, TrainingSettings, "a file")
            engine = Engine(nn.Linear(3, 3), settings, tmp_path, CPU)
            engine.run(batches_from, squared)
            assert [line["lr"] for line in read_log(tmp_path / "log.jsonl")] == [0.01, 0.01, 0.005, 0.005]
            assert settings.optimizer.state_bytes(nn.Linear(3, 3, device="meta")) == 4 * 12
            with pytest.raises(ConfigError, match=r"was started with optimizer.decay = 0.25, not 0.5"):
                Engine(nn.Linear(3, 3), attrs.evolve(settings, optimizer="momentum"), tmp_path, CPU).resume()
        finally:
            OPTIMIZERS.remove("momentum")
            SCHEDULES.remove("halved")

    def test_average_formula(self) -> None:
        model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
        nn.init.constant_(model.weight, 2.0)
        average = WeightAverage(model, decay=0.25)
        nn.init.constant_(model.weight, 4.0)
        average.update(model)  # decay min(0.25, 2 / 11)
        assert average.state["weight"].dtype == torch.float32
        assert average.state["weight"].item() == pytest.approx(2 * 2 / 11 + 4 * 9 / 11)
        first = average.state["weight"].item()
        average.update(model)  # decay min(0.25, 3 / 12)
        assert average.state["weight"].item() == pytest.approx(0.25 * first + 0.75 * 4)

    def test_accumulated_batches_equal_one_large_batch(self) -> None:
        def run(accumulate: int, split: int) -> nn.Module:
            torch.manual_seed(0)
            settings = attrs.evolve(SETTINGS, accumulate=accumulate, steps=3)
            engine = Engine(nn.Linear(3, 3), settings, runtime=CPU)
            engine.run((part for x in batches_from(0) for part in x.chunk(split)), squared)
            return engine.model

        torch.testing.assert_close(run(2, 2).weight, run(1, 1).weight)

    def test_the_gradient_is_clipped(self) -> None:
        norms = []

        def steep(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
            norms.append(None if model.weight.grad is None else model.weight.grad.norm())
            return {"loss": 1e6 * model(x).sum()}

        engine = Engine(nn.Linear(3, 1, bias=False), attrs.evolve(SETTINGS, steps=1, clip=0.5), runtime=CPU)
        engine.optimizers[0].register_step_pre_hook(lambda *_: norms.append(engine.model.weight.grad.norm()))
        engine.run(batches_from, steep)
        assert norms[0] is None and norms[1] == pytest.approx(0.5, rel=1e-3)

    def test_bfloat16_trains_float32_weights(self) -> None:
        engine = trained(precision="bfloat16")
        assert {value.dtype for value in engine.model.state_dict().values()} == {torch.float32, torch.int64}


class TestPrecision:
    """ "auto" is settled when a run begins, and stays with the run."""

    @pytest.fixture
    def fast(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        """Makes this machine one that is fast in the type of that name."""
        return lambda name: monkeypatch.setattr("anymodal.training.precision.fast_precision", lambda device: name)

    @pytest.mark.parametrize("name", ["bfloat16", "float32"])
    def test_the_forward_pass_runs_in_what_the_device_is_fast_in(self, fast: Callable[[str], None], name: str) -> None:
        fast(name)
        seen = set()

        def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
            out = model(x)
            seen.add(out.dtype)
            return {"loss": out.float().square().mean()}

        engine = Engine(nn.Linear(3, 3), attrs.evolve(SETTINGS, precision="auto"), runtime=CPU)
        engine.run(batches_from, loss)
        assert engine.settings.precision == name and seen == {getattr(torch, name)}

    @pytest.mark.parametrize(("first", "second"), [("bfloat16", "float32"), ("float32", "bfloat16")])
    def test_a_run_resumed_on_another_machine_keeps_its_precision(
        self, tmp_path: Path, fast: Callable[[str], None], first: str, second: str
    ) -> None:
        fast(first)
        whole = trained(precision="auto")
        trained(tmp_path, batches=interrupted_after(3, signal.SIGTERM), precision="auto")
        fast(second)
        engine = trained(tmp_path, resume=True, precision="auto")
        assert engine.settings.precision == first
        assert_same_weights(engine, whole)
        with pytest.raises(ConfigError, match=f"was started with precision = '{first}', not '{second}'"):
            trained(tmp_path, resume=True, precision=second)

    def test_a_checkpoint_with_no_such_precision_is_damaged(self, tmp_path: Path) -> None:
        trained(tmp_path)
        path = newest_checkpoint(tmp_path / "checkpoints")
        with pytest.raises(CheckpointError, match=r"damaged: its precision is 'int4'"):
            as_begun(SETTINGS, path, {"settings": {"precision": "int4"}})

    def test_auto_is_what_the_processor_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = dict.fromkeys(("_is_avx512_bf16_supported", "_is_amx_tile_supported"), False)
        for name in known:
            monkeypatch.setattr(torch.cpu, name, lambda name=name: known[name])
        assert fast_precision(torch.device("cpu")) == "float32"
        for name in known:
            known[name] = True
            assert fast_precision(torch.device("cpu")) == "bfloat16"
            known[name] = False
        assert fast_precision(torch.device("meta")) == "float32"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("lr", 0.0),
        ("ema", 1.0),
        ("schedule", "step"),
        ("precision", "float16"),
        ("optimizer", {"betas": (0.9, 1.0)}),
        ("max_minutes", 0),
    ],
)
def test_impossible_settings_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field if field != "optimizer" else "betas"):
        attrs.evolve(SETTINGS, **{field: value})


def test_settings_are_plain_data() -> None:
    plain = json.loads(json.dumps(attrs.asdict(SETTINGS)))
    assert structure(plain, TrainingSettings, "a test") == SETTINGS


@pytest.mark.parametrize("background", [True, False])
def test_the_newest_and_the_best_checkpoints_stay(tmp_path: Path, background: bool) -> None:
    folder = CheckpointFolder(tmp_path, SavingConfig(keep=2, best=1, background=background), alone("cpu"))
    for step, score in ((1, 0.9), (2, 0.1), (3, 0.5), (9, None), (10, None)):
        folder.save(step, {"model/x": torch.full((2,), float(step))}, {"score": score})
    folder.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (2, 9, 10)]
    newest = newest_checkpoint(tmp_path)
    assert read_state(newest)["step"] == 10 and stored_tensors(newest)["model/x"].tolist() == [10, 10]
    assert best_checkpoint(tmp_path).name == "step-00000002"


def test_a_checkpoint_holds_what_was_there_when_it_began(tmp_path: Path) -> None:
    folder, x = CheckpointFolder(tmp_path, SavingConfig(), alone("cpu")), torch.ones(1000, 1000)
    folder.save(1, {"model/x": x}, {})
    x.zero_()
    folder.finish()
    assert stored_tensors(newest_checkpoint(tmp_path))["model/x"].mean() == 1


def test_batches_of_any_structure_reach_the_device() -> None:
    batch = {"a": torch.zeros(1), "b": [torch.zeros(2), "name"], "c": (1, torch.zeros(3))}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"].is_meta and moved["b"][0].is_meta and moved["b"][1] == "name" and moved["c"][1].is_meta
