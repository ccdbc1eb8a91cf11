"""Which sampler makes the most of the embedded model, at which cost: held-out scenes, several seeds.

`python -m benchmarks samplers`; `--set samplers.count=40 --set samplers.seeds=3`, `--set samplers.only=rgb`,
`--set "samplers.ways=default;halton"`

Each row is a way of sampling one target from one input: its score, averaged over seeds with an interval of 95 %
(Student's t), and what it cost in processor time beside the first row of its target. caption -> rgb is judged as
`quality` does it: F1 of the (color, kind) pairs that the model's own rgb -> caption reads in the picture, and the
share of named kinds that its rgb -> semseg finds. What was measured is kept in `results/samplers.json`: the same
command goes on where it stopped. That of another model, of other scenes or of `--quick` is kept in `out/samplers.json`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from anymodal_scenes import BASIC, Scene, mentions, render

import anymodal as am
from anymodal.data.digest import digest
from anymodal.evaluation.intervals import half_width
from anymodal.outputs.fingerprint import fingerprint
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.quality import BATCH, HELD_OUT_SEED, kinds_found, pair_scores, surface

RESULTS = Path(__file__).parent / "results" / "samplers.json"  # of the model and the scenes that are the default
OTHER = Path("out/samplers.json")

Options = Mapping[str, Any]
SHOWN = {
    "rgb": ("pairs_f1", "kinds_found"),
    "semseg": ("miou", "accuracy"),
    "depth": ("abs_rel", "delta1"),
    "normal": ("mean_angle",),
    "canny_edge": ("edge_f1",),
}

CHOSEN: dict[str, Any] = {"scheme": "halton", "steps": 16, "guidance": 4.0, "temperature": 0.7, "choose": "caption"}
WAYS: dict[str, Options] = {
    "default": {},
    "maskgit, cosine": {"scheme": "maskgit", "schedule": "cosine", "steps": 16, "guidance": 4.0},
    "halton": {"scheme": "halton", "steps": 16, "guidance": 4.0},
    "entropy 4": {"scheme": "entropy:4", "steps": 16, "guidance": 4.0},
    "remask conf": {"scheme": "remask:conf:0.1", "steps": 16, "guidance": 4.0},
    "remask loop": {"scheme": "remask:loop:0.1", "steps": 16, "guidance": 4.0},
    "corrector": {"scheme": "corrector:4:0.25", "steps": 16, "guidance": 4.0},
    "halton, rising to 8": {"scheme": "halton", "steps": 16, "guidance": "rising:8"},
    "halton, guidance 8 from a quarter on": {"scheme": "halton", "steps": 16, "guidance": "interval:8:0.25:1"},
    "halton, normalized 8": {"scheme": "halton", "steps": 16, "guidance": "normalized:8"},
    "halton, temperature 0.7": {"scheme": "halton", "steps": 16, "guidance": 4.0, "temperature": 0.7},
    "halton, min-p 0.1": {"scheme": "halton", "steps": 16, "guidance": 4.0, "min_p": 0.1},
    "halton, 32 steps": {"scheme": "halton", "steps": 32, "guidance": 4.0},
    "halton, best of 4": {"scheme": "halton", "steps": 16, "guidance": 4.0, "samples": 4},
    "halton, temperature 0.7, the best of 4 for the caption": CHOSEN | {"samples": 4},
    "halton, temperature 0.7, the best of 8 for the caption": CHOSEN | {"samples": 8},
}
PICTURES: dict[str, Options] = {
    label: {"samples": 1, "choose": "", "refresh": 1, **how} for label, how in WAYS.items()
}  # where they say no more, one draw that is encoded in every step; the checkpoint says other
LABELS: dict[str, Options] = {
    "default": {},
    "one step, likeliest": {"scheme": "roar", "steps": 1, "temperature": 0.0, "guidance": 1.0},
    "one step, drawn": {"scheme": "roar", "steps": 1, "temperature": 1.0, "guidance": 1.0},
    "one step, 10 draws": {"scheme": "roar", "steps": 1, "temperature": 1.0, "guidance": 1.0, "samples": 10},
    "halton, 8 steps, likeliest": {"scheme": "halton", "steps": 8, "temperature": 0.0, "guidance": 1.0},
    "halton, 4 steps, 10 draws": {"scheme": "halton", "steps": 4, "temperature": 1.0, "guidance": 1.0, "samples": 10},
}
CASES: dict[str, dict[str, Options]] = {"rgb": PICTURES} | dict.fromkeys(
    ("semseg", "depth", "normal", "canny_edge"), LABELS
)


def made(model: am.AnyModel, inputs: Sequence[Mapping[str, Any]], target: str, how: Options, seed: int) -> list[Any]:
    """The values of a target for all scenes."""
    found: list[Any] = []
    for start in range(0, len(inputs), BATCH):
        outs = model.generate_batch(inputs[start : start + BATCH], target, seed=seed * 100_000 + start, **how)
        found += [out[target] for out in outs]
    return found


def scores(model: am.AnyModel, scenes: Sequence[Scene], target: str, values: list[Any]) -> dict[str, float]:
    """How good values of a target are for these scenes."""
    if target == "rgb":
        pictures = [{"rgb": value} for value in values]
        read = [mentions(text) for text in made(model, pictures, "caption", {}, 0)]
        pairs = [mentions(scene.caption) for scene in scenes]
        seen = made(model, pictures, "semseg", {}, 0)
        return {"pairs_f1": pair_scores(read, pairs)["f1"], "kinds_found": kinds_found(seen, pairs)}
    modality = model.modalities[target]
    truth = {
        "semseg": lambda s: s.semseg,
        "depth": lambda s: np.where(surface(s), s.depth, np.nan),
        "normal": lambda s: s.normal,
        "canny_edge": lambda s: model.accept({target: modality.derive({"rgb": s.rgb})})[target],
    }[target]
    return modality.score(values, [truth(scene) for scene in scenes])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its interval of 95 %; infinite for a single value."""
    return float(np.mean(values)), half_width(values)


def table(kept: Mapping[str, Any], count: int) -> str:
    """The rows as Markdown, those of one target together."""
    lines = [f"{count} held-out scenes; the mean over seeds and its interval of 95 %; cost in processor time."]
    for target, cases in CASES.items():
        rows = {label: kept[key] for label in cases if kept.get(key := f"{target}/{label}", {}).get("seeds")}
        if not rows:
            continue
        names = SHOWN[target]
        first = np.mean([each["cpu"] for each in next(iter(rows.values()))["seeds"]])
        source = "caption" if target == "rgb" else "rgb"
        lines += ["", f"**{source} -> {target}**", "", f"| sampler | {' | '.join(names)} | cost |"]
        lines += [f"| --- | {' | '.join('---' for _ in names)} | --- |"]
        for label, row in rows.items():
            cells = []
            for name in names:
                mean, half = interval([each["scores"][name] for each in row["seeds"]])
                cells.append(f"{mean:.3f} ± {half:.3f}" if math.isfinite(half) else f"{mean:.3f}")
            cost = np.mean([each["cpu"] for each in row["seeds"]]) / first
            lines.append(f"| {label} | {' | '.join(cells)} | {cost:.1f} |")
    return "\n".join(lines) + "\n"


@BENCHMARKS.register("samplers")
@attrs.frozen
class Samplers(Figures):
    """Which sampler makes the most of the embedded model, at which cost."""

    model: str = "tiny"
    count: int = 40
    seeds: int = 3
    only: str = ""
    ways: str = ""
    results: str = ""  # a file to keep them in

    def run(self, quick: bool) -> dict[str, Any]:
        model = am.load(self.model)
        count, seeds = (2, 1) if quick else (self.count, self.seeds)
        scenes = [render(HELD_OUT_SEED, i, model.modalities["rgb"].size, BASIC) for i in range(count)]
        own = fingerprint(model.transformer, model.modalities, ["rgb", "caption"], [*CASES, "caption"])
        asked, path = f"{digest(attrs.asdict(own))}, {count} scenes", self._file(quick)
        kept = self._kept(asked, path)
        for target, cases in CASES.items():
            for label, how in cases.items():
                if not self._wanted(target, label):
                    continue
                row = kept.setdefault(f"{target}/{label}", {"options": dict(how), "seeds": []})
                if row["options"] != dict(how):
                    row["options"], row["seeds"] = dict(how), []
                inputs = [{"caption": s.caption} if target == "rgb" else {"rgb": s.rgb} for s in scenes]
                for seed in range(len(row["seeds"]), seeds):
                    began = time.process_time()
                    values = made(model, inputs, target, how, seed)
                    cost = time.process_time() - began
                    row["seeds"].append({"cpu": cost, "scores": scores(model, scenes, target, values)})
                    self._keep(asked, kept, count, path)
        return {key: row["seeds"] for key, row in kept.items()}

    def _wanted(self, target: str, label: str) -> bool:
        return target in (self.only or target).split(",") and label in (self.ways or label).split(";")

    def _file(self, quick: bool) -> Path:
        """Where results are kept: those of other models and scenes would take the place of the table on the page."""
        if self.results:
            return Path(self.results)
        usual = Samplers()
        return RESULTS if (self.model, self.count) == (usual.model, usual.count) and not quick else OTHER

    def _kept(self, asked: str, path: Path) -> dict[str, Any]:
        """What was measured before of the same model and scenes."""
        found = json.loads(path.read_text()) if path.is_file() else {}
        return found["rows"] if found.get("of") == asked else {}

    def _keep(self, asked: str, kept: Mapping[str, Any], count: int, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"of": asked, "rows": kept}, indent=1) + "\n")
        path.with_suffix(".md").write_text(table(kept, count))
