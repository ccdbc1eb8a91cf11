"""What changes the weights: this file decides parameter groups, learning-rate schedules and weight averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from anymodal.training.sparse_adamw import RowAdamW, lookups


def parameter_groups(parameters: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay; biases, norms and all else of at most one dimension do not."""
    trained = [p for p in parameters if p.requires_grad]
    decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay}
    kept = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}
    return [group for group in (decayed, kept) if group["params"]]


def build_optimizers(
    model: nn.Module,
    kind: str,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    tables: str = "dense",
) -> list[Optimizer]:
    """The optimizers of a model, each parameter in one of them.

    "adamw": AdamW (Loshchilov & Hutter 2019), as one fused kernel where the device has it. "muon": Muon (Jordan et al.
    2024) for the matrices of linear layers, its updates scaled to AdamW's size so that one learning rate serves both
    (Liu et al. 2025, arXiv 2502.16982); AdamW for tables, biases and norms. With `tables` "rows", tables that the model
    looks rows up in have `RowAdamW` instead.
    """
    looked_up = lookups(model) if tables == "rows" else []
    linear = {m.weight for m in model.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad}
    orthogonal = [p for p in model.parameters() if p in linear] if kind == "muon" else []
    elsewhere = {*orthogonal, *looked_up}
    rest = [p for p in model.parameters() if p not in elsewhere]
    optimizers: list[Optimizer] = []
    if groups := parameter_groups(rest, weight_decay):
        fused = {p.device.type for group in groups for p in group["params"]} <= {"cpu", "cuda"}
        optimizers.append(torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused))
    if orthogonal:
        optimizers.append(
            torch.optim.Muon(orthogonal, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    if looked_up:
        optimizers.append(RowAdamW(looked_up, lr=lr, betas=betas, weight_decay=weight_decay))
    return optimizers


def cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at a step (from 0): linearly up over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def constant(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at a step (from 0): linear up over `warmup` steps, then all of it."""
    return min(1.0, (step + 1) / max(1, warmup))


def trapezoid(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at a step (from 0): linearly up over `warmup` steps, all of it, and over the last
    fifth linearly to 0 (Zhai et al. 2022, arXiv 2106.04560). A run may be prolonged until that fifth begins.
    """
    return min(constant(step, steps, warmup), (steps - step) / max(1, steps // 5))


OPTIMIZERS = ("adamw", "muon")
TABLES = ("dense", "rows")
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "cosine": cosine,
    "constant": constant,
    "trapezoid": trapezoid,
}


class WeightAverage:
    """Exponential moving average, in float32, of every floating-point entry of a model's state.

    At update t (from 1) the decay is min(decay, (1 + t) / (10 + t)), so that the initial weights are soon forgotten.
    Entries that are not floating-point (counters, flags) are copied. Those of `fixed` names, which never change, are
    left out.
    """

    def __init__(self, model: nn.Module, decay: float, fixed: Collection[str] = ()) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {
            name: value.detach().to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
            for name, value in model.state_dict().items()
            if name not in fixed
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        present = model.state_dict()
        for name, average in self.state.items():
            value = present[name]
            if value.is_floating_point():
                averages.append(average)
                values.append(value.float())
            else:
                average.copy_(value)
        get_ema_multi_avg_fn(decay)(averages, values, self.updates)
