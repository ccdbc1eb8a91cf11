"""Tables of which a step changes the rows it looked up, and no others: their gradients, their length, their optimizer.

Such a gradient is a sparse tensor of the rows that were looked up; the whole of it never exists. Whoever writes code
for gradients that may be sparse finds the numbers they consist of with `solid`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.training.moments import Moments, Whole
from anymodal.training.own_adamw import OwnAdamW

AT_ONCE = 2**16  # numbers of a gradient on a CPU whose squares are added at once


class RowAdamW(OwnAdamW):
    """AdamW (Loshchilov & Hutter 2019) that leaves a row (the first dimension) alone in steps that do not touch it.

    A row is touched if the sparse gradient names it, or if its gradient in a dense one is not zero. Its moments, its
    count of steps for the correction of their bias, and its weight decay know only the steps that touched it: the first
    time it is seen it moves as in the first step of Adam, and a rare row decays as often as it learns. Moments of rows
    that are touched alone are those of `torch.optim.SparseAdam`, which has no decay and counts steps for all rows
    together. Where every step touches every row, this is AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        kept: Moments = Whole(),  # noqa: B008
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        self.kept = kept
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _fresh(self, parameter: Tensor) -> dict[str, Tensor]:
        steps = torch.zeros(len(parameter), dtype=torch.int32, device=parameter.device)
        return {"steps": steps, **self.kept.fresh(parameter)}

    def _move(self, table: Tensor, slots: dict[str, Tensor], group: dict[str, Any]) -> None:
        rows, gradient = touched(table.grad)  # type: ignore[arg-type]
        if not len(rows):
            return
        (first, second), lr = group["betas"], group["lr"]
        steps = slots["steps"][rows] + 1
        mean, square = self.kept.read(slots, rows)
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        slots["steps"].index_copy_(0, rows, steps)
        self.kept.write(slots, rows, mean, square, int(slots["steps"].sum()))
        column = (-1,) + (1,) * (table.ndim - 1)
        correction = [(1 - beta ** steps.double()).to(table.dtype).view(column) for beta in (first, second)]
        spread = square.sqrt_().div_(correction[1].sqrt_()).add_(group["eps"])
        moved = table[rows].mul_(1 - lr * group["weight_decay"])
        table.index_copy_(0, rows, moved.addcdiv_(mean, spread.mul_(correction[0]), value=-lr))


def touched(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (n,) that a gradient touches, each once, and their part of it (n, ...)."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    rows = gradient.flatten(1).any(1).nonzero()[:, 0] if gradient.ndim > 1 else gradient.nonzero()[:, 0]
    return rows, gradient[rows]


def solid(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients of parameters as dense tensors that share their memory: of a sparse one the rows it names, once."""
    found = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            found.append(parameter.grad.values())
        elif parameter.grad is not None:
            found.append(parameter.grad)
    return found


def length(gradients: Iterable[Tensor]) -> Tensor:
    """The joint length of gradients. On a CPU it is taken in parts, for norms of long ones come out too short there."""
    parts: list[Tensor] = []
    for gradient in gradients:
        plain = type(gradient) is Tensor and gradient.device.type == "cpu"  # and not split over processes
        parts += gradient.reshape(-1).split(AT_ONCE) if plain else [gradient]
    return nn.utils.get_total_norm(parts)


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Shorten gradients, some of which may be sparse, to a joint length of at most `limit`; their length before."""
    parameters = list(parameters)
    gradients = solid(parameters)
    norm = length(gradients)
    if not any(parameter.grad is not None and parameter.grad.is_sparse for parameter in parameters):
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm
    for gradient in gradients:
        gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def lookups(model: nn.Module) -> list[nn.Parameter]:
    """Let a model's lookups make sparse gradients; the tables they look into. Raises ConfigError without any."""
    tables: list[nn.Parameter] = [table for table in getattr(model, "lookups", ()) if table.requires_grad]
    if not tables:
        raise ConfigError(
            f'optimizer.tables is "rows", and {type(model).__name__} trains no tables by rows; use "dense"'
        )
    model.sparse_lookups = True  # type: ignore[assignment]
    return tables


def check_rows(tables: str, processes: int) -> None:
    """Raise ConfigError where tables cannot be trained by rows: processes exchange dense gradients only."""
    if tables == "rows" and processes > 1:
        raise ConfigError(
            f'optimizer.tables is "rows", which works with one process, and these are {processes};'
            ' use "dense", or one process'
        )
