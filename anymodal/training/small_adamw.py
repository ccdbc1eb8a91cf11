"""AdamW that keeps its moments in fewer bytes than its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from anymodal.training import moments
from anymodal.training.moments import Moments, local
from anymodal.training.own_adamw import OwnAdamW


class SmallAdamW(OwnAdamW):
    """AdamW (Loshchilov & Hutter 2019) with small moments between steps; each step computes in float32."""

    def __init__(
        self,
        params: Iterable[Any],
        kept: Moments,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        fused: bool = False,
    ) -> None:
        self.kept = kept
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused})

    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        # Its count of steps is on the CPU, where reading it waits for no device.
        return {"step": torch.zeros((), dtype=torch.float32), **self.kept.fresh(parameter)}

    def _move(self, parameter: Tensor, slots: dict[str, Tensor], group: dict[str, Any]) -> None:
        """A step of AdamW, some rows at a time."""
        assert parameter.grad is not None
        weights, gradient, before = local(parameter), local(parameter.grad), slots["step"].clone()
        slots["step"] += 1
        size = weights[:1].numel() or 1
        for first in range(0, len(weights), max(1, moments.PART // size)):
            rows = slice(first, first + max(1, moments.PART // size))
            mean, square = self.kept.read(slots, rows)
            adamw(
                [weights[rows]],
                [gradient[rows]],
                [mean],
                [square],
                [],
                [before.clone().to(weights.device) if group["fused"] else before.clone()],
                fused=group["fused"],
                foreach=False,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
            self.kept.write(slots, rows, mean, square, int(slots["step"]))
