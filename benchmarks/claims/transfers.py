"""Transfer: what fine-tuning gains from pre-training, from more inputs, and from thinking first.

All rows share their runs, which lie with what else was made of the same weights (`worlds.kept`): a run that was
stopped is resumed, one that is finished is not made again. Each seed has labeled scenes of its own, up to 10,000 in
all, of a world that the model never saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from anymodal_scenes import BASIC, write

import anymodal as am
from anymodal.config import structure
from anymodal.files import read_object
from anymodal.transfer import TransferConfig
from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, Claim, Piece, Verdict, interval
from benchmarks.claims.worlds import WORK, kept, side

LABELED_SEED, MOST_LABELS = 2_000_003, 10_000  # seeds share the labeled scenes where there are not enough for all
TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "semseg": ({"name": "dense", "to": "semseg"}, "miou"),
    "boxes3d": ({"name": "boxes3d"}, "ap3d"),
}


@attrs.frozen(kw_only=True)
class Recipe:
    """What of the encoder is trained, the head and the learning rate: a head alone learns at a higher one."""

    tune: str = "frozen"
    head: str = "convnext"
    lr: float = 3e-3


@attrs.frozen
class Setup:
    """One run: what it learns from how many labels, what it reads, where its encoder comes from."""

    task: str
    labels: int
    steps: int
    way: str
    seed: int
    held_out: int
    model: str
    recipe: Recipe

    @property
    def folder(self) -> Path:
        how = f"{self.recipe.tune}-{self.recipe.head}-{self.recipe.lr:g}"
        steps = f"{self.steps}-steps-{self.held_out}"
        name = f"{self.task}-{self.labels}-{steps}-{how}-{self.way.replace(' ', '-')}-{self.seed}"
        return kept(self.model) / "transfer" / name


def score(setup: Setup) -> float:
    """The main score of a run, which is made if it was not."""
    if not (setup.folder / "metrics.json").is_file():
        whole = structure(config(setup), TransferConfig, "the run")
        if am.train_transfer(whole, setup.folder, resume=True) is None:  # told to stop
            raise KeyboardInterrupt
    return float(read_object(setup.folder / "metrics.json").get(TASKS[setup.task][1], 0.0))


def config(setup: Setup) -> dict[str, Any]:
    """The configuration of a run, whose scenes are rendered if they were not."""
    first = setup.seed * setup.labels % MOST_LABELS
    pixels = side(setup.model)
    labeled = WORK / "scenes" / str(pixels) / f"labeled-{setup.labels}-from-{first}"
    held_out = WORK / "scenes" / str(pixels) / f"held-out-{setup.held_out}"
    write(labeled, setup.labels, LABELED_SEED, pixels, workers=1, start=first, kinds=BASIC)
    write(held_out, setup.held_out, HELD_OUT_SEED, pixels, workers=1, kinds=BASIC)
    thinks = {"think": {"modality": "depth"}} if setup.way == "thinking" else {}
    return {
        "model": setup.model,
        "inputs": ["rgb", "depth"] if setup.way == "with depth" else ["rgb"],
        "task": TASKS[setup.task][0],
        "data": str(labeled),
        "held_out": {"path": str(held_out), "every": setup.steps},
        "tune": setup.recipe.tune,
        "head": setup.recipe.head,
        "scratch": setup.way == "scratch",
        "training": {
            "steps": setup.steps, "batch_size": 8, "lr": setup.recipe.lr,
            "schedule": {"warmup_steps": setup.steps // 10}, "precision": "bfloat16", "save_every": 100,
            "seed": setup.seed,
        },
        **thinks,
    }  # fmt: skip


@attrs.frozen(kw_only=True)
class Runs(Claim):
    """Runs of some ways of transfer on some tasks, each for all seeds."""

    model: str = "tiny"
    seeds: int = 3
    held_out: int = 100
    runs: str = "semseg:100:100"  # TASK:LABELS:STEPS of each
    recipe: Recipe = attrs.field(factory=Recipe)
    ways: ClassVar[tuple[str, str]] = ("", "")  # the second is to be better

    def parts(self) -> list[tuple[str, int, int]]:
        """Tasks, labels and steps."""
        parts = [part.split(":") for part in self.runs.split()]
        return [(task, int(labels), int(steps)) for task, labels, steps in parts]

    def pieces(self) -> Iterator[Piece]:
        for task, labels, steps in self.parts():
            for seed in range(self.seeds):
                for way in self.ways:
                    setup = Setup(task, labels, steps, way, seed, self.held_out, self.model, self.recipe)
                    yield f"{task}/{labels}/{way}/{seed}", lambda setup=setup: score(setup)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        texts, won = [], []
        for task, labels, _ in self.parts():
            rows = [
                [each for k in range(self.seeds) if (each := found.get(f"{task}/{labels}/{way}/{k}")) is not None]
                for way in self.ways
            ]
            if not all(rows):
                continue
            shown = " -> ".join(f"{way} {interval(row)}" for way, row in zip(self.ways, rows, strict=True))
            texts.append(f"{task} at {labels} labels, {TASKS[task][1]}: {shown}")
            if all(len(row) == self.seeds for row in rows):
                texts[-1] += f" (difference {interval([b - a for a, b in zip(*rows, strict=True)])})"
                won.append(float(np.mean(rows[1])) > float(np.mean(rows[0])))
        met = all(won) if len(won) == len(self.parts()) else None
        steps = ", ".join(f"{labels} labels {steps} steps of 8" for _, labels, steps in self.parts())
        trained = "its encoder frozen" if self.recipe.tune == "frozen" else "all of the encoder trained"
        size = (
            f"{self.model}, {trained}, head {self.recipe.head}, rate {self.recipe.lr:g}; {steps}; {self.held_out}"
            f" held-out scenes, {self.seeds} seeds"
        )
        return Verdict("; ".join(texts) or "nothing yet", met, size)


@CLAIMS.register("transfer-depth")
@attrs.frozen(kw_only=True)
class MoreInputs(Runs):
    """RGB and depth against RGB."""

    claim = "transfer: RGB + depth beats RGB on 3-D boxes and segmentation"
    bar = "better on both"
    ways = ("rgb", "with depth")


@CLAIMS.register("transfer-pretrained")
@attrs.frozen(kw_only=True)
class Pretrained(Runs):
    """Pre-trained against new weights, on segmentation from RGB."""

    claim = "transfer: pre-trained beats from scratch at 100, 1,000 and 10,000 labels"
    bar = "better at each"
    ways = ("scratch", "rgb")


@CLAIMS.register("thinking")
@attrs.frozen(kw_only=True)
class Thinking(Runs):
    """Depth that the model generates from RGB first, against RGB alone."""

    claim = "thinking first: generating depth first helps 3-D boxes"
    bar = "better, or the honest figure that it does not"
    ways = ("rgb", "thinking")
