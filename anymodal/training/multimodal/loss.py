"""The loss of an any-to-any model in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anymodal.data.batches import Batch
from anymodal.model import Transformer
from anymodal.tokens import NO_LABEL, Layout
from anymodal.training.objective import Metrics, Objective


class MaskedLoss(Objective[Transformer, Batch]):
    """The weighted mean over streams of their mean cross-entropies in an update (4M, arXiv 2312.06647).

    `weights` by stream are 1 where not given; streams without targets in the update do not count. Metrics: "loss", and
    each stream's as "loss.STREAM", in nats a token.
    """

    def __init__(self, layout: Layout, weights: dict[str, float] | None = None) -> None:
        self.layout = layout
        self.weights = {stream.name: (weights or {}).get(stream.name, 1.0) for stream in layout.targets}

    def totals(self, batches: Sequence[Batch]) -> Tensor:
        """Predictions by stream (S,), in the order of the layout."""
        return torch.stack([self._predictions(batch) for batch in batches]).sum(0)

    def _predictions(self, batch: Batch) -> Tensor:
        targets = batch.packed.targets
        assert targets is not None
        streams = targets.streams[targets.labels != NO_LABEL]
        return torch.bincount(streams.flatten(), minlength=len(self.layout.streams)).double()

    def __call__(self, model: Transformer, batch: Batch, totals: Tensor) -> Metrics:
        losses, index = model(batch.packed), self.layout.index
        # The loss of a batch without any prediction is zero, but its gradient has to be there.
        shares = {name: value * 0 for name, value in losses.items()}
        part = self._predictions(batch) / totals.clamp(min=1)
        there = totals.tolist()
        present = [name for name in self.weights if there[index[name]] > 0]
        nothing = totals.new_zeros((), dtype=torch.float32)
        for name in present:
            shares[name] = losses[name] * part[index[name]].float() if name in losses else nothing
        weight = max(sum(self.weights[name] for name in present), 1e-9)
        loss = torch.stack([share.float() * self.weights[name] for name, share in shares.items()]).sum() / weight
        return {"loss": loss, **{f"loss.{name}": shares[name] for name in present}}

    def problems(self, batch: Batch) -> Sequence[str]:
        return batch.problems
