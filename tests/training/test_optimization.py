"""Steps of the engine: averages, schedules, optimizers, frozen weights, precision, and steps that cannot be used."""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_engines import (
    CPU,
    SETTINGS,
    Tables,
    assert_same_weights,
    batches_from,
    interrupted_after,
    squared,
    trained,
)
from torch import Tensor, nn

from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.nn.device import fast_precision
from anymodal.training import moments
from anymodal.training.average import WeightAverage
from anymodal.training.engine import Engine, TrainingDiverged
from anymodal.training.log import read_log
from anymodal.training.optim import OPTIMIZERS, MuonConfig, OptimizerConfig, parameter_groups
from anymodal.training.precision import as_begun
from anymodal.training.schedules import SCHEDULES, ConstantSchedule, CosineSchedule, Schedule, TrapezoidSchedule
from anymodal.training.settings import TrainingSettings
from anymodal.training.stored import newest_checkpoint


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

    def test_each_step_has_the_rate_of_its_schedule(self, tmp_path: Path) -> None:
        rates: list[float] = []
        engine = Engine(nn.Linear(3, 3), SETTINGS, tmp_path, runtime=CPU)
        (optimizer,) = engine.optimizers
        optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
        engine.run(batches_from, squared)
        share = SETTINGS.schedule.share
        assert rates == pytest.approx([SETTINGS.lr * share(step, SETTINGS.steps) for step in range(SETTINGS.steps)])
        assert [record["lr"] for record in read_log(tmp_path / "log.jsonl")] == rates[1::2]

    def test_each_step_draws_other_numbers_whatever_was_drawn_before(self) -> None:
        def drawn(before: int) -> list[float]:
            found: list[float] = []

            def drawing(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
                found.append(torch.rand(1 + before)[0].item())
                return squared(model, x)

            Engine(nn.Linear(3, 3), SETTINGS, runtime=CPU).run(batches_from, drawing)
            return found

        assert drawn(0) == drawn(1) and len(set(drawn(0))) == SETTINGS.steps

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

    @pytest.mark.parametrize(
        "block",
        [
            *("adamw", "muon", {"tables": "rows"}, {"name": "muon", "tables": "rows"}),
            *({"moments": "bfloat16"}, {"moments": "8bit"}, {"tables": "rows", "moments": "8bit"}),
        ],
    )
    def test_the_bytes_of_an_optimizer_are_those_it_comes_to_hold(self, block: Any) -> None:
        config = OPTIMIZERS(block)
        engine = Engine(Tables(), attrs.evolve(SETTINGS, optimizer=config, steps=1), runtime=CPU)
        engine.run(itertools.repeat(torch.tensor([1, 3])), lambda model, ids: {"loss": model(ids).sum()})
        slots = [slot for o in engine.optimizers for held in o.state.values() for slot in held.values()]
        with torch.device("meta"):
            outline = Tables()
        assert config.state_bytes(outline) == sum(slot.nbytes for slot in slots if slot.ndim)

    def test_small_moments_take_half_the_bytes_and_move_weights_alike(self) -> None:
        """Over 40 steps of a noisy regression, weights end where those of AdamW do, as far as 8 bits tell."""
        ends = []
        for kind in ("float32", "bfloat16"):
            torch.manual_seed(0)
            model, made = nn.Linear(6, 3), torch.randn(40, 16, 6)
            config = OPTIMIZERS({"moments": kind})
            (optimizer,) = config.build(model, 1e-2)
            for x in made:
                ((model(x) - x[:, :3].sin()) ** 2).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
            ends.append((model.weight.detach().clone(), optimizer, config.state_bytes(nn.Linear(6, 3, device="meta"))))
        (whole, _, most), (small, optimizer, few) = ends
        assert (small - whole).abs().max() < 0.02 * (whole - whole.mean()).abs().max() and not torch.equal(small, whole)
        assert few == most / 2 == 2 * 2 * (6 * 3 + 3)
        slots = optimizer.state[optimizer.param_groups[0]["params"][0]].values()
        assert {slot.dtype for slot in slots if slot.ndim} == {torch.bfloat16}

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_small_moments_are_the_same_in_parts(self, monkeypatch: pytest.MonkeyPatch, layout: Any) -> None:
        ends = []
        for part in (2**19, 5):
            monkeypatch.setattr(moments, "PART", part)
            torch.manual_seed(0)
            model = nn.Conv2d(3, 8, 2).to(memory_format=layout)
            (optimizer,) = OPTIMIZERS({"moments": "bfloat16"}).build(model, 1e-2)
            for _ in range(3):
                model(torch.randn(2, 3, 4, 4)).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
            ends.append(model.weight.detach().clone())
        assert torch.allclose(*ends, atol=1e-7)

    def test_moments_in_eight_bits_take_a_quarter_and_move_weights_alike(self) -> None:
        ends = []
        for kind in ("float32", "8bit"):
            torch.manual_seed(0)
            table = nn.Parameter(torch.randn(64, 128) * torch.logspace(-3, 0, 128))
            (optimizer,) = OPTIMIZERS({"moments": kind}).build(nn.ParameterList([table]), 1e-3)
            for _ in range(60):
                ((table - 1) ** 2 * torch.rand(64, 128) * torch.logspace(-2, 0, 128)).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
            ends.append((table.detach().clone(), sum(slot.nbytes for slot in optimizer.state[table].values())))
        (whole, most), (small, few) = ends
        assert (small - whole).abs().mean() < 0.02 * 60e-3 and not torch.equal(small, whole)
        assert few - 4 == (most - 4) / 4 + 2 * 4 * 64  # and scales; 4 bytes count steps

    @given(st.integers(0, 2**32), st.sampled_from([torch.int8, torch.uint8]))
    @settings(max_examples=20)
    def test_codes_of_eight_bits_are_near_and_right_in_the_mean(self, seed: int, kind: torch.dtype) -> None:
        values = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed)) ** 3
        values = values if kind.is_signed else values.abs()
        most, steps = torch.iinfo(kind).max, 400
        found = torch.stack([moments.decoded(*moments.encoded(values, kind, step)) for step in range(steps)])
        top = values.abs().amax(1, keepdim=True)
        gap = (2 * (values.abs() / top).sqrt() * most + 1) / most**2 * top  # from a code to the next
        assert ((found - values).abs() <= 1.01 * gap + 1e-6 * top).all()
        assert ((found.mean(0) - values).abs() <= 0.25 * gap + (0 if kind.is_signed else top / most**2)).all()

    def test_a_mean_square_in_eight_bits_is_never_zero_where_a_row_is_not(self) -> None:
        values = torch.tensor([[1.0, 1e-30, 0.0], [0.0, 0.0, 0.0]])
        found = moments.decoded(*moments.encoded(values, torch.uint8, 1))
        assert (found[0] > 0).all() and not found[1].any()

    def test_another_distribution_adds_a_way_of_keeping_moments(self) -> None:
        @moments.MOMENTS.add
        @attrs.frozen(kw_only=True)
        class Rounded(moments.Whole):
            name: str = attrs.field(init=False, default="rounded")

            def write(self, slots: Any, rows: Any, mean: Tensor, square: Tensor, step: int) -> None:
                super().write(slots, rows, mean.round(decimals=2), square, step)

        try:
            model = nn.Linear(3, 2)
            (optimizer,) = OPTIMIZERS({"moments": "rounded"}).build(model, 1e-2)
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
            assert torch.allclose(optimizer.state[model.weight]["exp_avg"], torch.full((2, 3), 0.1))
        finally:
            moments.MOMENTS.remove("rounded")

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

    def test_counters_are_not_averaged(self) -> None:
        model = nn.BatchNorm1d(3)
        average = WeightAverage(model, decay=0.9)
        for count in (1, 2):
            model(torch.randn(4, 3))
            average.update(model)
            assert average.state["num_batches_tracked"].item() == count

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
