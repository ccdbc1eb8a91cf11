"""Whether a model says as much of held-out scenes as the packaged `tiny` did: the check of a record of the speedrun.

`python -m benchmarks speedrun --set speedrun.model=FOLDER`

The figures are those of `quality`, by as many seeds as the table of recipes/tiny128/README.md; each mean has to reach a
number that `tiny` reaches. The rules, and the records, are docs/reference/speedrun.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import reduce
from typing import Any

import attrs

import anymodal as am
from anymodal.errors import ConfigError
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.quality import Quality

PIXELS = 128
MOST = {
    "rgb_to.depth.abs_rel": 0.18,
    "rgb_to.normal.mean_angle": 12.5,
    "rgb_to.color_palette.delta_e": 9.1,
    "rgb_to.depth.blocks.generated": 1.3,
    "rgb_to.normal.blocks.generated": 1.4,
    "caption_to_rgb.blocks.generated": 2.2,
}
LEAST = {
    "rgb_to.semseg.miou": 0.76,
    "rgb_to.caption.f1": 0.76,
    "rgb_to.canny_edge.edge_f1": 0.76,
    "caption_to_rgb.kinds_found.own": 0.63,
    "caption_to_rgb.pairs_read.own": 0.3,
    "caption_to_rgb.color_share.own": 0.32,
}


@BENCHMARKS.register("speedrun")
@attrs.frozen
class Speedrun(Figures):
    """Whether a model reaches the thresholds of the speedrun; see docs/reference/speedrun.md."""

    model: str = "tiny"
    count: int = 100
    seeds: int = 3

    def run(self, quick: bool) -> dict[str, Any]:
        """Each figure with its threshold, and whether all are met. Raises ConfigError for smaller pictures."""
        side = am.load(self.model, modalities=["rgb"]).modalities["rgb"].size
        if side < PIXELS:
            raise ConfigError(f"{self.model} sees pictures of {side} pixels; a record has {PIXELS} at least")
        found = [Quality(self.model, self.count, seed).run(quick) for seed in range(1 if quick else self.seeds)]
        return judged(found)


def judged(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over seeds beside its threshold."""
    told: dict[str, Any] = {}
    for name, limit in {**MOST, **LEAST}.items():
        mean = statistics.fmean(figure(each, name) for each in found)
        words = f"at {'most' if name in MOST else 'least'} {limit}"
        told[name] = {"mean": mean, "threshold": words, "met": mean <= limit if name in MOST else mean >= limit}
    return {"figures": told, "met": all(each["met"] for each in told.values())}


def figure(found: Mapping[str, Any], name: str) -> float:
    """A figure by its keys with dots between."""
    return float(reduce(lambda part, key: part[key], name.split("."), found))
