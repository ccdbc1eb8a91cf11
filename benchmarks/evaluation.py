"""What the embedded model scores on held-out scenes, by the project's own command, beside its bound and baselines.

`python -m benchmarks evaluation`

`anymodal eval` scores each task over several sets of scenes, each of a seed of its own. A score is the mean over the
sets; `plus_minus` is 95 % of Student's t over them. The seed of the generation hardly matters from photographs. Of the
tasks in `drawn` one draw and the mean of several are scored as well, and the difference between them over the sets.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

import anymodal as am
from anymodal.evaluation import Evaluation
from anymodal.evaluation.intervals import half_width
from benchmarks.harness.base import BENCHMARKS, Figures

HELD_OUT_SEED = 1_000_003
TASKS = "depth normal semseg caption det instance pose retrieval generation"
DRAWS = {"scheme": "roar", "steps": 1, "temperature": 1.0}
TOLD = {"semseg": "miou", "depth": "abs_rel_metric", "normal": "mean_angle"}


def summary(runs: list[Evaluation]) -> dict[str, dict[str, Any]]:
    """By score: the mean over the sets, the model's with its interval."""
    found: dict[str, dict[str, Any]] = {}
    for name in runs[0].scores["model"]:
        own = np.array([run.scores["model"][name] for run in runs])
        spread = half_width(own) if len(own) > 1 else float("nan")
        kinds = [kind for kind, each in runs[0].scores.items() if kind != "model" and name in each]
        others = {kind: float(np.mean([run.scores[kind][name] for run in runs])) for kind in kinds}
        found[name] = {"model": float(own.mean()), "plus_minus": spread, **others}
    return found


def gain(one: list[Evaluation], several: list[Evaluation], name: str) -> dict[str, float]:
    """A score of one draw and of the mean of several, and their difference over the sets."""
    first, mean = (np.array([run.scores["model"][name] for run in runs]) for runs in (one, several))
    spread = half_width(mean - first) if len(first) > 1 else float("nan")
    return {"one": float(first.mean()), "mean": float(mean.mean()), "gain": float((mean - first).mean()), "±": spread}


@BENCHMARKS.register("evaluation")
@attrs.frozen
class EvaluationOfScenes(Figures):
    """What the embedded model scores on held-out scenes, beside its bound and baselines."""

    model: str = "tiny"
    count: int = 100
    seeds: int = 3
    tasks: str = TASKS
    drawn: str = "semseg depth normal"
    draws: int = 10
    pictures: int = 100  # that are generated of each set, which takes longest

    def run(self, quick: bool) -> Mapping[str, Any]:
        count, seeds = (6, 2) if quick else (self.count, self.seeds)
        tasks, drawn = ("depth semseg", "semseg") if quick else (self.tasks, self.drawn)
        model = am.load(self.model)
        side = str(model.modalities["rgb"].size)
        found: dict[str, list[Evaluation]] = {task: [] for task in tasks.split()}
        both: dict[str, tuple[list[Evaluation], list[Evaluation]]] = {task: ([], []) for task in drawn.split()}
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + seeds):
                data = f"{folder}/{seed}"
                made = ["scenes", "--count", str(count), "--seed", str(seed), "--size", side, "--out", data, "--quiet"]
                subprocess.run([sys.executable, "-m", "anymodal", *made], check=True, capture_output=True)
                for task, runs in found.items():
                    most = min(count, self.pictures) if task == "generation" else count
                    runs.append(am.evaluate(task, data, model, count=most))
                for task, (one, several) in both.items():
                    one.append(am.evaluate(task, data, model, **DRAWS))
                    several.append(am.evaluate(task, data, model, **DRAWS, samples=self.draws))
        result: dict[str, Any] = {"scenes": count, "seeds": seeds, "draws": self.draws}
        result |= {task: summary(runs) for task, runs in found.items()}
        return result | {f"{task}, drawn": gain(*runs, TOLD[task]) for task, runs in both.items()}
