"""What a run in memory tells while it goes, and what is left of that: the losses by step, and a picture of them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
MARGIN, ROW = 56, 16  # pixels


@attrs.frozen
class TrainingStep:
    """How far a run is.

    target: "model", or the modality whose tokenizer is trained.
    step: how many steps are done, from 1.
    total: how many there are.
    loss: the mean of the steps since the one told before.
    partial: the value so far, which training has none of: None. `GenerationStep` has one.
    """

    target: str
    step: int
    total: int
    loss: float
    partial: Any = None


class History:
    """The steps of a run, in order; it shows itself in notebooks as `plot` draws it."""

    def __init__(self) -> None:
        self.steps: list[TrainingStep] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[TrainingStep]:
        return iter(self.steps)

    def __repr__(self) -> str:
        ends = ", ".join(f"{name} {steps[0].loss:.3g} -> {steps[-1].loss:.3g}" for name, steps in self.targets.items())
        return f"History({ends})"

    @property
    def targets(self) -> dict[str, list[TrainingStep]]:
        """The steps by target."""
        found: dict[str, list[TrainingStep]] = {}
        for step in self.steps:
            found.setdefault(step.target, []).append(step)
        return found

    def plot(self, width: int = 640, height: int = 360) -> Image:
        """The losses over the steps, in one color for each target, every run as wide as the picture; logarithmic."""
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.new("RGB", (width, height), "white")
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
        known = [step.loss for step in self.steps if math.isfinite(step.loss) and step.loss > 0]
        low, high = (min(known), max(known)) if known else (1.0, 1.0)
        reach = math.log(high / low) or 1.0
        left, right, top, bottom = MARGIN, width - 12, 12, height - 28
        draw.rectangle((left, top, right, bottom), outline="#cccccc")
        for text, y in ((f"{high:.3g}", top), (f"{low:.3g}", bottom - 12)):
            draw.text((6, y), text, "#404040", font)
        for number, (name, steps) in enumerate(self.targets.items()):
            color = COLORS[number % len(COLORS)]
            places = [
                (
                    left + (right - left) * step.step / step.total,
                    bottom - (bottom - top) * math.log(step.loss / low) / reach,
                )
                for step in steps
                if math.isfinite(step.loss) and step.loss > 0
            ]
            draw.line(places, color, 2)
            draw.text((right - 160, top + 6 + ROW * number), f"{name}: {steps[-1].loss:.3g}", color, font)
        last = ", ".join(f"{name} {steps[-1].total}" for name, steps in self.targets.items())
        draw.text((left, bottom + 8), f"steps: {last}"[:100], "#404040", font)
        return picture

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.plot().save(buffer, "png")
        return buffer.getvalue()


class HistoryTracker:
    """A tracker that keeps the loss of one run of a history, and tells `progress`."""

    def __init__(
        self, history: History, target: str, total: int, progress: Callable[[TrainingStep], None] | None
    ) -> None:
        self.history, self.target, self.total, self.progress = history, target, total, progress

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        if "loss" in values:
            told = TrainingStep(self.target, step, self.total, float(values["loss"]))
            self.history.steps.append(told)
            if self.progress is not None:
                self.progress(told)

    def picture(self, step: int, name: str, picture: Image) -> None:
        """Pictures are not kept."""

    def close(self) -> None:
        """There is nothing to close."""
