"""What changes the weights: one small class of settings for each optimizer, which also builds it.

An optimizer is added by a class derived from `OptimizerConfig`, in `OPTIMIZERS`. Another distribution adds its own with
`OPTIMIZERS.add`, or by an entry point in the group "anymodal.optimizers".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import a, as_tuple, at_least, between, each, one_of, positive
from anymodal.errors import ConfigError
from anymodal.training.moments import MOMENTS, Moments, Whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
else:
    from anymodal.lazy import torch


@frozen(kw_only=True)
class OptimizerConfig:
    """The settings of an optimizer, apart from the learning rate.

    in_backward: whether each weight moves as soon as its gradient is there, so that gradients are never all held; for
        runs of one process without `clip`, `explosion` and `accumulate`, with the same result.
    """

    name: str = field(init=False)
    in_backward: bool = field(default=False, validator=a(bool, "true or false"))

    def build(self, model: nn.Module, lr: float) -> list[Optimizer]:
        """The optimizers of what is trained of a model, each parameter in one of them; `lr` is the peak rate."""
        raise NotImplementedError

    def check(self, processes: int) -> None:
        """Raise ConfigError where the optimizer does not work with that many processes."""
        if self.in_backward and processes > 1:
            raise ConfigError(
                f"optimizer.in_backward works with one process, and these are {processes}; leave it out, or use one"
            )

    @property
    def sparse(self) -> bool:
        """Whether gradients may be sparse."""
        return False

    def state_bytes(self, model: nn.Module) -> int:
        """The bytes of what the optimizer remembers of a model on the meta device, found by a step there.

        Of the parameters of a group that have the same shape and type, one is looked at.
        """
        total = 0
        for optimizer in self.build(model, 0.0):
            alike: dict[tuple[object, ...], list[nn.Parameter]] = {}
            for number, group in enumerate(optimizer.param_groups):
                for parameter in group["params"]:
                    alike.setdefault((number, parameter.shape, parameter.dtype), []).append(parameter)
            for parameter, *_ in alike.values():
                parameter.grad = torch.empty_like(parameter)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for parameters in alike.values():
                slots = optimizer.state[parameters[0]].values()
                each = sum(slot.nbytes for slot in slots if isinstance(slot, torch.Tensor) and slot.ndim)
                total += each * len(parameters)
        return total


def _moments(value: Any) -> Moments:
    return MOMENTS(value)


OPTIMIZERS = SettingsTable(OptimizerConfig, "optimizer", default="adamw")


@OPTIMIZERS.add
@frozen(kw_only=True)
class AdamWConfig(OptimizerConfig):
    """AdamW (Loshchilov & Hutter 2019), as one fused kernel where the device has it.

    weight_decay: of matrices; biases, norms and all else of at most one dimension do not decay.
    tables: "rows" updates of the embeddings of tokens those that a step looks up (`RowAdamW` says what that changes),
        "dense" all of them. Rows need a single process.
    moments: "bfloat16" keeps both averages of a gradient in 4 bytes a weight rather than 8, "8bit" in 2 and a scale for
        each row (`anymodal.training.moments`).
    """

    name: str = field(init=False, default="adamw")
    betas: tuple[float, float] = field(
        default=(0.9, 0.95), converter=as_tuple, validator=each(between(0, 1, below=True), length=2)
    )
    eps: float = field(default=1e-8, validator=positive)
    weight_decay: float = field(default=0.05, validator=at_least(0))
    tables: Literal["dense", "rows"] = field(default="dense", validator=one_of("dense", "rows"))
    moments: Moments = field(factory=Whole, converter=_moments)

    def build(self, model: nn.Module, lr: float) -> list[Optimizer]:
        from anymodal.training.small_adamw import SmallAdamW
        from anymodal.training.sparse_adamw import RowAdamW, lookups

        looked_up = lookups(model) if self.sparse else []
        orthogonal = self._orthogonal(model, lr)
        elsewhere = {p for optimizer in orthogonal for group in optimizer.param_groups for p in group["params"]}
        rest = [p for p in model.parameters() if p not in {*elsewhere, *looked_up}]
        optimizers: list[Optimizer] = []
        if groups := parameter_groups(rest, self.weight_decay):
            fused = {p.device.type for group in groups for p in group["params"]} <= {"cpu", "cuda"}
            kind = torch.optim.AdamW if self.moments == Whole() else partial(SmallAdamW, kept=self.moments)
            optimizers.append(kind(groups, lr=lr, betas=self.betas, eps=self.eps, fused=fused))
        optimizers += orthogonal
        if looked_up:
            optimizers.append(RowAdamW(looked_up, self.moments, lr, self.betas, self.eps, self.weight_decay))
        return optimizers

    def _orthogonal(self, model: nn.Module, lr: float) -> list[Optimizer]:
        """Optimizers of matrices that AdamW does not train."""
        return []

    def check(self, processes: int) -> None:
        from anymodal.training.sparse_adamw import check_rows

        super().check(processes)
        check_rows(self.tables, processes)

    @property
    def sparse(self) -> bool:
        return self.tables == "rows"


@OPTIMIZERS.add
@frozen(kw_only=True)
class MuonConfig(AdamWConfig):
    """Muon (Jordan et al. 2024) for the matrices of linear layers, AdamW with the same settings for the rest.

    Muon's updates are scaled to AdamW's size, so that one learning rate serves both (Liu et al. 2025,
    arXiv 2502.16982). momentum: of its average of gradients.
    """

    name: str = field(init=False, default="muon")
    momentum: float = field(default=0.95, validator=between(0, 1, below=True))

    def _orthogonal(self, model: nn.Module, lr: float) -> list[Optimizer]:
        linear = {m.weight for m in model.modules() if isinstance(m, torch.nn.Linear) and m.weight.requires_grad}
        if not (matrices := [p for p in model.parameters() if p in linear]):
            return []
        from anymodal.training.muon import Muon

        return [Muon(matrices, lr, self.weight_decay, self.momentum)]


def parameter_groups(parameters: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay; biases, norms and all else of at most one dimension do not."""
    trained = [p for p in parameters if p.requires_grad]
    decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay}
    kept = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}
    return [group for group in (decayed, kept) if group["params"]]
