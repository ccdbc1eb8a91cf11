"""What the embedded model loses where inputs are encoded anew every few steps alone, and what that saves.

`python -m benchmarks refresh`

rgb -> depth and normal in 8 steps, caption -> rgb in 16, on held-out scenes; each figure is a mean with its standard
error over seeds, and `time` is the processor time to that of `refresh=1`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from anymodal_scenes import BASIC, Scene, mentions, render

import anymodal as am
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.harness.report import markdown
from benchmarks.quality import HELD_OUT_SEED, color_share, kinds_found, pair_scores, surface

EVERY = (1, 2, 4, 8)
GRID: dict[str, Any] = {"steps": 8, "scheme": "maskgit", "temperature": 1.0}
PICTURE: dict[str, Any] = {"steps": 16, "samples": 1}
SHOWN = {
    "depth abs_rel": "depth, abs. rel. error",
    "normal mean_angle": "normal, mean angle",
    "rgb kinds_found": "rgb: kinds found",
    "rgb pairs_read": "rgb: pairs read, F1",
    "rgb color_share": "rgb: share of color",
    "time depth, normal": "CPU time, depth and normal",
    "time rgb": "CPU time, rgb",
}


@BENCHMARKS.register("refresh")
@attrs.frozen
class Refresh(Figures):
    """Quality of grids of the embedded model against how often what they are made from is encoded anew."""

    model: str = "tiny"
    count: int = 40
    seeds: int = 3

    def run(self, quick: bool) -> dict[str, Any]:
        count, seeds = (8, 1) if quick else (self.count, self.seeds)
        model = am.load(self.model)
        scenes = [render(HELD_OUT_SEED, index, model.modalities["rgb"].size, BASIC) for index in range(count)]
        found: dict[str, Any] = {"scenes": count, "seeds": seeds}
        first: dict[str, float] = {}
        for every in EVERY:
            runs = [self._once(model, scenes, 1000 * seed, every) for seed in range(seeds)]
            found[f"refresh={every}"] = {name: spread([run[name] for run in runs]) for name in runs[0]}
            spent = {name: sum(run[name] for run in runs) for name in runs[0] if name.startswith("time")}
            first = first or spent
            found[f"refresh={every}"] |= {name: {"mean": spent[name] / first[name]} for name in spent}
        return found

    def table(self, found: Mapping[str, Any]) -> str:
        """A row for each `refresh`."""
        said = f"`tiny`, {found['scenes']} held-out scenes, mean and standard error over {found['seeds']} seeds."
        lines = [[str(every), *(said_of(found[f"refresh={every}"][name]) for name in SHOWN)] for every in EVERY]
        return f"{said}\n\n{markdown(['`refresh`', *SHOWN.values()], lines)}"

    def _once(self, model: am.AnyModel, scenes: Sequence[Scene], seed: int, every: int) -> Mapping[str, float]:
        started = time.process_time()
        pictures = [{"rgb": scene.rgb} for scene in scenes]
        maps = model.generate_batch(pictures, ["depth", "normal"], seed=seed, chain=False, refresh=every, **GRID)
        between = time.process_time()
        captions = [{"caption": scene.caption} for scene in scenes]
        made = [out["rgb"] for out in model.generate_batch(captions, "rgb", seed=seed, refresh=every, **PICTURE)]
        ended = time.process_time()
        depth = [np.where(surface(scene), scene.depth, np.nan) for scene in scenes]
        seen = model.generate_batch([{"rgb": picture} for picture in made], ["semseg", "caption"], chain=False)
        pairs = [mentions(scene.caption) for scene in scenes]
        return {
            "depth abs_rel": model.modalities["depth"].score([out["depth"] for out in maps], depth)["abs_rel"],
            "normal mean_angle": model.modalities["normal"].score(
                [out["normal"] for out in maps], [scene.normal for scene in scenes]
            )["mean_angle"],
            "rgb kinds_found": kinds_found([out["semseg"] for out in seen], pairs),
            "rgb pairs_read": pair_scores([mentions(out["caption"]) for out in seen], pairs)["f1"],
            "rgb color_share": color_share(made, pairs),
            "time depth, normal": between - started,
            "time rgb": ended - between,
        }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """The mean and its standard error, which one value does not tell."""
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "error": error}


def said_of(value: Mapping[str, float | None]) -> str:
    """What `spread` found, in words."""
    error = value.get("error")
    return f"{value['mean']:.3g}" + (f" ± {error:.2g}" if error is not None else "")
