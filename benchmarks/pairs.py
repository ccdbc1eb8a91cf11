"""How many pairs an index is calibrated from, and how often what was meant is then found first.

`python -m benchmarks pairs`; `--set pairs.scenes=200 --set "pairs.counts=[50, 100]"`

Each seed has held-out scenes of its own, indexed by what the tiny teacher sees in their pictures, and pairs of a world
that nothing was trained on. Queries are by one modality; recall@1 is their share whose own scene comes first. The row 0
is without a calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from anymodal.config.validators import as_tuple
from anymodal.retrieval.calibration import learned
from anymodal.retrieval.query import drawn
from benchmarks.claims.base import HELD_OUT_SEED, PAIRS_SEED
from benchmarks.claims.retrieval import Indexed, inputs_of, seen
from benchmarks.claims.worlds import model, scenes, side
from benchmarks.harness.base import BENCHMARKS, Figures


@BENCHMARKS.register("pairs")
@attrs.frozen
class Pairs(Figures):
    """How often an index finds what was meant, by the number of pairs that it is calibrated from."""

    model: str = "tiny"
    by: str = "imagebind_global"
    inputs: tuple[str, ...] = attrs.field(default=("caption", "depth", "canny_edge"), converter=as_tuple)
    counts: tuple[int, ...] = attrs.field(default=(20, 50, 100, 200, 500, 1000), converter=as_tuple)
    scenes: int = 300
    seeds: int = 2

    def run(self, quick: bool) -> Mapping[str, Any]:
        """recall@1 by modality and number of pairs, one value a seed."""
        found: dict[str, dict[str, list[float]]] = {name: {} for name in self.inputs}
        known = Indexed(self.model, self.by)
        for seed in range(1 if quick else self.seeds):
            known.hold(seed, self.scenes)
            pairs = scenes(PAIRS_SEED, seed * max(self.counts), max(self.counts), side(self.model))
            wanted = seen(self.by, pairs)
            wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
            held_out = scenes(HELD_OUT_SEED, seed * self.scenes, self.scenes, side(self.model))
            for name in self.inputs:
                asked, given = (self._expected(inputs_of(self.model, made, [name])) for made in (held_out, pairs))
                for count in (0, *self.counts):
                    moved = learned(given[:count], wanted[:count])(asked) if count else asked
                    found[name].setdefault(str(count), []).append(known.ranked(moved, seed)["recall@1"])
        return found

    def _expected(self, inputs: list[dict[str, Any]]) -> np.ndarray:
        return drawn(model(self.model), inputs, self.by, draws=1, seed=0)
