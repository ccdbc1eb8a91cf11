"""The loss of a small model with dense AdamW for its tables, and with AdamW for the rows that a step looks up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from anymodal.config import load_config
from anymodal.data.order import Share
from anymodal.model import ModelConfig, Transformer
from anymodal.training.multimodal.config import TrainConfig, build_set
from anymodal.training.multimodal.data import open_batches
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.optim import AdamWConfig
from anymodal.training.schedules import TrapezoidSchedule
from anymodal.training.sparse_adamw import clip_gradients
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.harness.revisions import ROOT


@BENCHMARKS.register("losses")
@attrs.frozen
class Losses(Figures):
    """Losses of both ways on the same batches: in training (the mean of each tenth) and on later ones."""

    data: str = "out/tiny/tokens"
    tokenizers: Path = Path("out/tiny/tokenizers")
    steps: int = 600
    samples: int = 16
    dim: int = 256
    lr: float = 2e-3
    seed: int = 0

    def run(self, quick: bool) -> dict[str, Any]:
        return {tables: self.losses(tables, 60 if quick else self.steps) for tables in ("dense", "rows")}

    def losses(self, tables: str, steps: int) -> dict[str, Any]:
        """The losses of one way."""
        overrides = [f"data={self.data}", f"tokenizers={self.tokenizers}", f"training.batch_size={self.samples}"]
        overrides.append(f"training.seed={self.seed}")
        config = load_config(ROOT / "recipes/tiny/model.yaml", TrainConfig, overrides)
        modalities = build_set(config.modalities, config.tokenizers)
        make = open_batches(config, modalities, Share(0, 1, 1))
        torch.manual_seed(self.seed)
        size = ModelConfig(dim=self.dim, encoder_depth=2, decoder_depth=2, heads=4)
        model, objective = Transformer(size, modalities.layout), MaskedLoss(modalities.layout)
        optimizers = AdamWConfig(tables=tables).build(model, self.lr)

        def of(number: int) -> torch.Tensor:
            packed = make(number)
            return objective(model, packed, objective.totals([packed]))["loss"]

        schedule = TrapezoidSchedule(warmup_steps=steps // 10)
        found = []
        for step in range(steps):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * schedule.share(step, steps)
            value = of(step)
            value.backward()
            clip_gradients(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            found.append(value.item())
        with torch.no_grad():
            later = [of(10**6 + number).item() for number in range(32)]
        tenths = [round(float(np.mean(part)), 4) for part in np.array_split(found, 10)]
        return {"training": tenths, "later": round(float(np.mean(later)), 4)}
