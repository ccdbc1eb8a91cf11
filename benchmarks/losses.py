"""Loss curves of the recipe of `tiny` with each option that saves time or memory, on the same batches as without it.

`python -m benchmarks losses`, or smaller: `--set losses.dim=64 --set losses.samples=8 --set losses.scenes=300`

Each way is compared with the plain one seed by seed: the mean of the differences, its interval of 95 % (Student's t),
and beside them how far apart seeds are by themselves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import torch

import anymodal as am
from anymodal.config import load_config, structure
from anymodal.data import DataConfig, MaskedBatches
from anymodal.data.order import step_batches
from anymodal.evaluation.intervals import half_width
from anymodal.model import Transformer
from anymodal.training.engine import Engine
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.data import open_batches
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.runtime import Runtime
from anymodal.training.settings import SavingConfig, TrainingSettings
from benchmarks.data import scenes_as_tokens
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.harness.report import about, markdown
from benchmarks.harness.revisions import ROOT

PLAIN = "plain"
WAYS: dict[str, dict[str, Any]] = {  # settings of training
    PLAIN: {"optimizer": {"tables": "dense"}},
    "bfloat16 products": {"precision": "bfloat16", "optimizer": {"tables": "dense"}},
    "tables by rows": {"optimizer": {"tables": "rows"}},
    "bfloat16 moments": {"optimizer": {"tables": "dense", "moments": "bfloat16"}},
    "8-bit moments": {"optimizer": {"tables": "dense", "moments": "8bit"}},
    "8-bit moments, tables by rows": {"optimizer": {"tables": "rows", "moments": "8bit"}},
    "steps in the backward pass": {"optimizer": {"tables": "dense", "in_backward": True}},
}


@BENCHMARKS.register("losses")
@attrs.frozen
class Losses(Figures):
    """Losses in training (the mean of each tenth) and on later batches, whose scenes were not trained on."""

    LATER: ClassVar[int] = 64  # batches

    data: str = ""  # tokens of training; by default scenes are rendered
    scenes: int = 2000
    steps: int = 2000
    samples: int = 64
    dim: int = 192
    depth: int = 5
    heads: int = 6
    lr: float = 2e-3
    seeds: int = 3
    optimizer: str = "adamw"  # which, unlike Muon, keeps two moments of everything
    ways: str = ""  # some of them, apart by semicolons
    out: str = ""  # a file of results, from which a run that was stopped goes on

    def run(self, quick: bool) -> dict[str, Any]:
        here = attrs.evolve(self, scenes=16, steps=20, samples=4, dim=32, depth=1, heads=2, seeds=2) if quick else self
        names = list(load_config(ROOT / "recipes/tiny/model.yaml", TrainConfig).modalities)
        modalities = am.load("tiny", modalities=names).modalities
        with tempfile.TemporaryDirectory() as folder:
            data = here.data or str(scenes_as_tokens(Path(folder, "seen"), modalities, here.scenes))
            later = str(scenes_as_tokens(Path(folder, "later"), modalities, max(here.scenes // 8, 8), seed=1))
            return here.compared(modalities, data, later)

    def compared(self, modalities: am.ModalitySet, data: str, later: str) -> dict[str, Any]:
        """Each way beside the plain one."""
        known = json.loads(Path(self.out).read_text()) if self.out and Path(self.out).exists() else {}
        chosen = [PLAIN, *self.ways.split(";")] if self.ways else list(WAYS)
        for seed in range(self.seeds):
            for way in chosen:
                if f"{way}, seed {seed}" not in known:
                    known[f"{way}, seed {seed}"] = self.losses(modalities, data, later, way, seed)
                    if self.out:
                        Path(self.out).write_text(json.dumps(known))
        runs = {way: [known[f"{way}, seed {seed}"] for seed in range(self.seeds)] for way in chosen}
        return {way: beside(each, runs[PLAIN]) for way, each in runs.items()}

    def table(self, found: Mapping[str, Any]) -> str:
        """A row a way; that of the plain one says how far apart seeds are."""
        seeds = len(found[PLAIN]["later, of each seed"])
        said = (
            f"Mean losses of tenths of training and on later batches, {seeds} seeds. ± is their deviation over seeds, "
            "and half of the interval of 95 % of the mean difference, seed by seed."
        )
        lines = []
        for way, row in found.items():
            cells = [way, *(f"{value:.3f}" for value in row["training"])]
            cells.append(about(row["later"], row["later, deviation over seeds"], 3))
            if way != PLAIN:
                cells.append(about(row["later, difference"], row["later, half of the interval"], 4))
                cells.append(", ".join(f"{value:.4f}" for value in row["later, difference of each seed"]))
            lines.append(cells)
        head = ["", *(f"{k}." for k in range(1, 11)), "later", "difference", "of each seed"]
        return f"{said}\n\n{markdown(head, lines)}"

    def losses(self, modalities: am.ModalitySet, data: str, later: str, way: str, seed: int) -> dict[str, Any]:
        """The losses of one run."""
        config = load_config(ROOT / "recipes/tiny/model.yaml", TrainConfig)
        raw = {"steps": self.steps, "batch_size": self.samples, "lr": self.lr, "seed": seed, "precision": "float32"}
        raw["schedule"] = {"name": "trapezoid", "warmup_steps": self.steps // 10}
        options = {**WAYS[way], "optimizer": {"name": self.optimizer, **WAYS[way].get("optimizer", {})}}
        settings = structure(raw | options, TrainingSettings, f"the settings of {way}")
        size = attrs.evolve(
            config.shape, dim=self.dim, encoder_depth=self.depth, decoder_depth=max(self.depth - 2, 1), heads=self.heads
        )
        config = attrs.evolve(config, training=settings)
        batches, held_out = (self._batches(config, modalities, path) for path in (data, later))
        torch.manual_seed(seed)
        model = Transformer(size, modalities.layout)
        objective = _Seen(modalities, config)
        engine = Engine(model, settings, None, Runtime(device="cpu", saving=SavingConfig(background=False)))
        engine.run(step_batches(batches, self.steps), objective)
        if not engine.finished:
            raise KeyboardInterrupt
        seen = [value.item() for value in objective.losses]
        model.eval()
        with torch.no_grad():
            for number in range(self.LATER):
                batch = held_out(number)
                objective(model, batch, objective.totals([batch]))
        tenths = [float(np.mean(part)) for part in np.array_split(seen, 10)]
        return {"training": tenths, "later": float(np.mean([v.item() for v in objective.losses[self.steps :]]))}

    @staticmethod
    def _batches(config: TrainConfig, modalities: am.ModalitySet, path: str) -> MaskedBatches:
        return open_batches(attrs.evolve(config, data=DataConfig(path=path)), modalities)


def beside(runs: Sequence[Mapping[str, Any]], plain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The losses of a way, a run a seed, and how far they are from those of the plain way with the same seeds."""
    later, theirs = (np.array([run["later"] for run in each]) for each in (runs, plain))
    curves, plains = (np.array([run["training"] for run in each]) for each in (runs, plain))  # (seeds, tenths)
    gaps = later - theirs
    several = len(gaps) > 1
    return {
        "training": curves.mean(0).round(4).tolist(),
        "training, deviation over seeds": curves.std(0, ddof=1).round(4).tolist() if several else None,
        "training, largest difference": round(float(abs(curves.mean(0) - plains.mean(0)).max()), 4),
        "later": round(float(later.mean()), 4),
        "later, of each seed": later.round(4).tolist(),
        "later, deviation over seeds": round(float(later.std(ddof=1)), 4) if several else None,
        "later, difference": round(float(gaps.mean()), 4),
        "later, half of the interval": round(half_width(gaps), 4) if several else None,
        "later, difference of each seed": gaps.round(4).tolist(),
    }


class _Seen(MaskedLoss):
    """The loss of the recipe, which keeps the values that it gave."""

    def __init__(self, modalities: am.ModalitySet, config: TrainConfig) -> None:
        super().__init__(modalities.layout, config.stream_weights)
        self.losses: list[torch.Tensor] = []

    def __call__(self, *given: Any) -> Any:
        found = super().__call__(*given)
        self.losses.append(found["loss"].detach())
        return found
