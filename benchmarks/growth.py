"""How the work of generation grows: with tokens, samples and targets, and with modalities that are not used.

`python -m benchmarks growth --set growth.figure=docs/reference/growth.svg` draws it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from anymodal.model import ModelConfig, Transformer
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.harness.models import generate

AXES: Mapping[str, Sequence[int]] = {
    "tokens": (64, 128, 256, 512, 1024),
    "samples": (1, 2, 4, 8, 16),
    "targets": (1, 2, 4, 8),
    "unused": (1, 4, 16, 64),
}
TITLES = {"tokens": "tokens of the input", "samples": "samples at once", "unused": "modalities that are not used"}
BLUE, GRAY = "#1f5fa8", "#999999"
SIDE, GAP = 190, 54  # of a panel, in pixels


@attrs.frozen
class Point:
    """What is generated: grids of 64 tokens in 4 steps, each from those before and from a grid of `tokens`."""

    tokens: int = 64
    samples: int = 1
    targets: int = 1
    unused: int = 0

    def model(self) -> Transformer:
        """A small model with random weights that has these modalities."""
        torch.manual_seed(0)
        streams = [("given", TokenSpace.grid(256, self.tokens // 8, 8))]
        streams += [(f"target{k}", TokenSpace.grid(256, 8, 8)) for k in range(self.targets)]
        streams += [(f"unused{k}", TokenSpace.grid(1024, 14, 14)) for k in range(self.unused)]
        layout = Layout(Stream(name, name, space) for name, space in streams)
        config = ModelConfig(dim=128, encoder_depth=4, decoder_depth=4, heads=4)
        return Transformer(config, layout).eval().requires_grad_(False)

    def run(self, model: Transformer) -> int:
        """Generate, and return how many steps that took, each of all samples."""
        how = Sampling(scheme="maskgit", steps=4)
        plan = [(f"target{k}", how) for k in range(self.targets)]
        return generate(model, ["given"], plan, self.samples) // self.samples


def counted(point: Point) -> tuple[float, int]:
    """Floating point operations of matrix products and attention, and steps."""
    model = point.model()
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # which PyTorch leaves out
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        steps = point.run(model)
    return float(counter.get_total_flops()), steps


def _attention(queries: Any, keys: Any, values: Any, *others: Any, **keywords: Any) -> int:
    """Operations of attention, by the shapes of its arguments."""
    return int(sdpa_flop_count(queries, keys, values))


def seconds(point: Point, runs: int) -> float:
    """The least processor time of some runs."""
    model, spent = point.model(), []
    for _ in range(runs):
        begun = time.process_time()
        point.run(model)
        spent.append(time.process_time() - begun)
    return min(spent)


@BENCHMARKS.register("growth")
@attrs.frozen
class Growth(Figures):
    """Operations and processor time of generation against tokens, samples, targets and unused modalities."""

    figure: str = ""  # where to draw it, as SVG

    def run(self, quick: bool) -> Mapping[str, Any]:
        torch.set_num_threads(1)
        found: dict[str, Any] = {}
        for axis, values in AXES.items():
            points = {value: Point(**{axis: value}) for value in (values[:2] if quick else values)}
            found[axis] = {
                value: {"gflop": counted(point)[0] / 1e9, "seconds": seconds(point, 2 if quick else 5)}
                for value, point in points.items()
            }
        if self.figure:
            Path(self.figure).write_text(drawn(found))
        return found


def drawn(found: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """A panel for each axis, logarithmic both ways: operations as a line, time as dots, in gray what is in proportion.

    All are multiples of the first point.
    """
    width, height = len(found) * (SIDE + GAP) + GAP // 2, SIDE + 84
    parts = [panel(axis, found[axis], GAP + k * (SIDE + GAP)) for k, axis in enumerate(found)]
    legend = f'<text x="{GAP}" y="14" fill="{BLUE}">line: operations; dots: processor time; gray: in proportion</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
    body = "\n".join([legend, *parts])
    return f'{head} font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


def panel(axis: str, points: Mapping[int, Mapping[str, float]], left: int) -> str:
    """One panel, whose left edge is `left` pixels from that of the figure."""
    first, *_, last = points
    base = points[first]
    top = max(last / first, *(each[key] / base[key] for each in points.values() for key in base)) * 1.1
    across = lambda value: left + SIDE * _share(value / first, last / first)  # noqa: E731
    up = lambda ratio: 30 + SIDE * (1 - _share(max(ratio, 0.8), top))  # noqa: E731
    line = " ".join(f"{across(value):.1f},{up(each['gflop'] / base['gflop']):.1f}" for value, each in points.items())
    dots = "".join(
        f'<circle cx="{across(value):.1f}" cy="{up(each["seconds"] / base["seconds"]):.1f}" r="4" fill="{BLUE}"/>'
        for value, each in points.items()
    )
    names = "".join(f'<text x="{across(v):.1f}" y="{SIDE + 46}" text-anchor="middle">{v}</text>' for v in points)
    marks = [1, *(4**k for k in range(1, 6) if 4**k < top)]
    sides = "".join(f'<text x="{left - 6}" y="{up(m) + 4:.1f}" text-anchor="end">{m} x</text>' for m in marks)
    title = f'<text x="{left + SIDE / 2}" y="{SIDE + 66}" text-anchor="middle">{TITLES.get(axis, axis)}</text>'
    return (
        f'<rect x="{left}" y="30" width="{SIDE}" height="{SIDE}" fill="none" stroke="{GRAY}"/>'
        f'<polyline points="{left},{up(1):.1f} {across(last):.1f},{up(last / first):.1f}" fill="none" stroke="{GRAY}"'
        f' stroke-dasharray="4"/><polyline points="{line}" fill="none" stroke="{BLUE}"/>{dots}{names}{sides}{title}'
    )


def _share(ratio: float, largest: float) -> float:
    """Where a ratio lies between 1 and the largest, both logarithmic."""
    return float(torch.tensor(ratio).log() / torch.tensor(largest).log())
