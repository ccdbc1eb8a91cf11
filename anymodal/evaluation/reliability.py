"""Whether a model is as sure of values of several draws as it is right: expected calibration errors, and their figure.

Of label maps the class of a pixel is as likely as the mean of the draws says (Guo et al. 2017, arXiv 1706.04599). Of
other maps the numbers of a pixel are normal around the mean of the draws with their standard deviation, and a share of
the truths has to lie within each of its intervals (Kuleshov et al. 2018, arXiv 1807.00263). A part of a sequence, such
as a word or a box, is as likely as the share of the draws that have it, and right where the truth has it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from anymodal.families import LabelMapModality
from anymodal.modality import Modality

if TYPE_CHECKING:
    from PIL.Image import Image

BINS = 15  # of how likely the likeliest class is
LEVELS = np.linspace(0.05, 0.95, 19)  # of intervals of numbers
WIDTHS = np.array([NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS])
INK, GRID, BAR, PERFECT = (30, 30, 34), (205, 205, 210), (70, 120, 200), (215, 90, 60)


class DrawReliability:
    """Counts by the confidence of draws: `places` of them, the sum of their `confidence`, and how many were `right`.

    Of classes the confidence is that of the likeliest one, and of parts the share of the draws, in bins; of numbers it
    is the level of an interval, and all places count at every level.
    """

    def __init__(self, of: str) -> None:
        """`of` is "classes", "parts" or "intervals"."""
        self.of = of
        self.places, self.confidence, self.right = np.zeros((3, len(LEVELS) if of == "intervals" else BINS))

    def add_classes(self, likely: np.ndarray, truth: np.ndarray) -> None:
        """Add probabilities (places, classes) with the numbers of the true classes (places,)."""
        self.add_parts(likely.max(1), likely.argmax(1) == truth)

    def add_parts(self, sure: np.ndarray, right: np.ndarray) -> None:
        """Add how likely each place or part is, 0..1 (places,), with whether it is right."""
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        self.places += np.bincount(bins, minlength=BINS)
        self.confidence += np.bincount(bins, sure, BINS)
        self.right += np.bincount(bins, right, BINS)

    def add_numbers(self, mean: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> None:
        """Add means and truths (places,) with standard deviations (places,) in their unit."""
        gaps = np.abs(truth - mean)
        self.places += gaps.size
        self.confidence += LEVELS * gaps.size
        self.right += [int((gaps <= width * spread).sum()) for width in WIDTHS]

    @property
    def error(self) -> float:
        """The mean distance of the confidence from the share that was right, by places; 0..1."""
        return float(np.abs(self.confidence - self.right).sum() / max(self.places.sum(), 1))

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in ("places", "confidence", "right")}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the counts of another one."""
        for name in ("places", "confidence", "right"):
            setattr(self, name, getattr(self, name) + np.array(state[name], np.float64))

    def as_json(self) -> dict[str, Any]:
        """The error, and the curve: of each bin or level the confidence, the share that was right, and its weight."""
        here = self.places > 0
        parts = (self.confidence[here] / self.places[here], self.right[here] / self.places[here], self.places[here])
        rows = [[round(float(v), 6) for v in row] for row in zip(*parts, strict=True)]
        return {"of": self.of, "error": self.error, "curve": rows}


@contextmanager
def listening(modality: Modality) -> Iterator[list[np.ndarray]]:
    """How likely a label map says that its classes are in the body, (labels, H, W) for each value of several draws."""
    heard: list[np.ndarray] = []
    if not isinstance(modality, LabelMapModality):
        yield heard
        return
    own: Any = modality
    likely = own.likely

    def kept(draws: list[np.ndarray]) -> np.ndarray:
        heard.append(likely(draws))
        return heard[-1]

    own.likely = kept
    try:
        yield heard
    finally:
        del own.likely


def add_value(
    found: DrawReliability,
    modality: Modality,
    value: Any,
    unsure: np.ndarray | None,
    likely: np.ndarray | None,
    truth: Any,
) -> None:
    """Add the places of one value of several draws that can be compared with its truth; those where all draws agree
    are the surest ones."""
    if found.of == "parts":
        own: Any = modality
        if unsure is not None and len(unsure):
            found.add_parts(1 - unsure.astype(np.float64), own.parts_in(value, truth))
        return
    if found.of == "classes":
        assert isinstance(modality, LabelMapModality)
        if likely is not None:
            labels = modality.preprocess(modality.at(truth, modality.size))
            known = labels > 0
            sure = modality.calibrated(np.moveaxis(likely, 0, -1)[known], "classes")
            found.add_classes(sure, labels[known])
        return
    mean, true = np.asarray(value, np.float64), np.asarray(truth, np.float64)
    if unsure is None or mean.shape != true.shape or unsure.shape != mean.shape[:2]:
        return
    measured = modality.measured(truth)
    known = np.ones(unsure.shape, bool) if measured is None else np.asarray(measured, bool)
    known &= np.isfinite(np.atleast_3d(true)).all(-1)
    spread = np.repeat(unsure[known][:, None], np.atleast_3d(mean).shape[-1], 1)
    found.add_numbers(np.atleast_3d(mean)[known].ravel(), spread.ravel(), np.atleast_3d(true)[known].ravel())


def draw_figure(found: Mapping[str, Any], title: str, size: int = 480) -> Image:
    """The curve of `DrawReliability.as_json` beside the line on which a model is as sure as it is right."""
    from PIL import Image, ImageDraw

    from anymodal.families.drawing import font_of

    canvas = Image.new("RGB", (size, size), (255, 255, 255))
    draw, font, edge = ImageDraw.Draw(canvas), font_of(max(9, size / 34)), size // 8
    room = size - 2 * edge

    def at(x: float, y: float) -> tuple[float, float]:
        return edge + x * room, size - edge - y * room

    for k in range(6):
        draw.line((*at(k / 5, 0), *at(k / 5, 1)), GRID)
        draw.line((*at(0, k / 5), *at(1, k / 5)), GRID)
        draw.text(at(k / 5 - 0.02, -0.03), f"{k / 5:g}", INK, font)
        draw.text((edge * 0.45, at(0, k / 5)[1] - 6), f"{k / 5:g}", INK, font)
    draw.line((*at(0, 0), *at(1, 1)), PERFECT, 2)
    points = [(at(sure, right), weight) for sure, right, weight in found["curve"]]
    most = max((weight for _, weight in points), default=1)
    draw.line([point for point, _ in points], BAR, 2)
    for (x, y), weight in points:
        draw.circle((x, y), 2 + 5 * (weight / most) ** 0.5, BAR)
    draw.text((edge, edge * 0.4), f"{title}: expected calibration error {100 * found['error']:.1f} %", INK, font)
    draw.text((edge, size - edge * 0.45), "how sure (x), how often right (y)", INK, font)
    return canvas
