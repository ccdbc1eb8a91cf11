"""Grids of 196 tokens: depth from a picture, and a picture from depth in random order with guidance."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import attrs

from anymodal.checkpoints.formats.fourm.domains import CODEBOOKS
from anymodal.sampling import Sampling
from benchmarks.harness import parts, twins
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work
from benchmarks.harness.models import SIZES, generate, multiplied_in, transformer

CELLS = 196
HOW: dict[str, Any] = {
    "depth": Sampling(scheme="maskgit", steps=8, schedule="cosine", temperature=1.0),
    "rgb": Sampling(scheme="roar", steps=25, temperature=1.0, top_p=0.8, guidance=2.0),
}
GIVEN = {"depth": "rgb", "rgb": "depth"}


@BENCHMARKS.register("grids")
@attrs.frozen
class Grids(Timed):
    """Depth by maskgit in 8 cosine steps, and rgb in random order in 25 steps with guidance."""

    target: ClassVar[str] = "depth: 3 times the original; rgb: 2.5 times"

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"target": "depth", "size": "s", "batch": 1}]
        return [{"target": name, "size": size, "batch": batch} for name in HOW for size in SIZES for batch in (1, 8)]

    def prepare(self, case: Case) -> Work:
        model, name = transformer(case["size"]), case["target"]
        run = partial(generate, model, [GIVEN[name]], [(name, HOW[name])], case["batch"])
        twin = partial(twins.grid, model, [GIVEN[name]], name, case["batch"], HOW[name])
        return Work(run, partial(floor, SIZES[case["size"]], case["batch"], name, CELLS), twin)


def floor(config: Any, batch: int, name: str, given: int) -> list[Part]:
    """Each step at its length: what is given, what is decided so far, and of the other condition the latter alone."""
    how, found, decided = HOW[name], [], 0
    counts = [step.count for step in how.plan(CELLS)]
    groups = [counts] if how.scheme.name == "maskgit" else [counts[k : k + 5] for k in range(0, len(counts), 5)]
    steps = [(c, 1) for c in groups[0]] if how.scheme.name == "maskgit" else [(sum(g) / len(g), len(g)) for g in groups]
    for count, times in steps:
        middle = round(decided + count * (times - 1) / 2)
        targets = CELLS - middle if how.scheme.name == "maskgit" else round(count)
        for inputs in (given + middle, *([middle] if not how.guidance.off else [])):
            one = _step(config, batch, inputs, targets, CODEBOOKS[name])
            found.append(parts.part(f"{inputs} inputs, {targets} targets", times, one, multiplied_in(config.dim)))
        decided += round(count * times)
    return found


def _step(config: Any, batch: int, inputs: int, targets: int, ids: int) -> list[Any]:
    """One pass of the model; without inputs there is nothing to encode."""
    seen = max(inputs, 1)
    return [
        *(parts.encoder(config, batch, inputs) + parts.context(config, batch, inputs) if inputs else []),
        *parts.decoder(config, batch, targets, targets, seen, ids),
    ]
