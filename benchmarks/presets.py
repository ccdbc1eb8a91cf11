"""What a part of a model costs beside all of it: `python -m benchmarks presets`.

Both are loaded in turn in one process, and make all other modalities of one picture: medians of processor seconds, and
of their ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

import anymodal as am
from benchmarks.harness.base import BENCHMARKS, Figures


@BENCHMARKS.register("presets")
@attrs.frozen
class Presets(Figures):
    """What the preset of some modalities costs beside the preset of all."""

    part: str = "tiny-7"
    whole: str = "tiny"
    rounds: int = 9

    def run(self, quick: bool) -> Mapping[str, Any]:
        """Seconds and megabytes by preset, and the ratios of the part to the whole."""
        names, picture = (self.part, self.whole), {"rgb": am.sample("coffee")}
        megabytes = {name: weights(am.load(name)) / 1e6 for name in names}
        found: dict[str, dict[str, list[float]]] = {"load": {}, "generate all": {}}
        for _ in range(2 if quick else self.rounds):
            for name in names:
                model, seconds = timed(lambda name=name: am.load(name))
                found["load"].setdefault(name, []).append(seconds)
                _, seconds = timed(lambda model=model: model.generate(picture))
                found["generate all"].setdefault(name, []).append(seconds)
        told: dict[str, Any] = {
            what: {**{name: statistics.median(each[name]) for name in names}, "ratio": self._ratio(each)}
            for what, each in found.items()
        }
        return {**told, "megabytes of weights": {**megabytes, "ratio": megabytes[self.part] / megabytes[self.whole]}}

    def _ratio(self, seconds: Mapping[str, list[float]]) -> float:
        return statistics.median(a / b for a, b in zip(seconds[self.part], seconds[self.whole], strict=True))


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the processor seconds that it took."""
    began = time.process_time()
    return run(), time.process_time() - began


def weights(model: am.AnyModel) -> int:
    """Bytes of the weights of a model and its tokenizers."""
    parts = [model.transformer, *(each.tokenizer for each in model.modalities if each.tokenizer is not None)]
    return sum(each.numel() * each.element_size() for part in parts for each in part.state_dict().values())
