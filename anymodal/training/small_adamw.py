"""AdamW that keeps its moments in half the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from anymodal.training.own_adamw import OwnAdamW

PART = 2**19  # numbers, or rows of what does not lie in one piece


class SmallAdamW(OwnAdamW):
    """AdamW (Loshchilov & Hutter 2019) with moments in bfloat16 between steps; each step computes in float32.

    Rounding is to nearest: a moment that changes by less than 1/256 of itself in a step stands still, which with betas
    up to 0.95 is the case only near where it would settle.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        fused: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "fused": fused})

    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        moments = {name: torch.zeros_like(parameter, dtype=torch.bfloat16) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **moments}

    @staticmethod
    def _move(parameter: Tensor, slots: dict[str, Tensor], group: dict[str, Any]) -> None:
        """A step of AdamW, in parts that stay in the caches of a processor."""
        whole = [parameter, parameter.grad, slots["exp_avg"], slots["exp_avg_sq"]]
        flat = [_local(each) for each in whole if each is not None]
        if all(each.is_contiguous() for each in flat):
            flat = [each.view(-1) for each in flat]
        for weights, gradient, *small in zip(*(each.split(PART) for each in flat), strict=True):
            moments = [each.float() for each in small]
            adamw(
                [weights],
                [gradient],
                [moments[0]],
                [moments[1]],
                [],
                [slots["step"].clone()],
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
            for each, moment in zip(small, moments, strict=True):
                each.copy_(moment)
        slots["step"] += 1


def _local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
