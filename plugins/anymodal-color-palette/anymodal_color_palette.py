"""The few colors that a picture is made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal import DerivedLabeler, Labeler, StructuredModality, hookimpl
from anymodal.families.arrays import as_array
from anymodal.families.blanks import kept_parts
from anymodal.families.drawing import font_of, note, paper
from anymodal.files import naming, read_json
from anymodal.text import parse_value

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

COUNTS = tuple("1234567")
SAMPLED = 1024  # pixels that colors are clustered from
GOLDEN = 0.6180339887498949


class ColorPalette(StructuredModality):
    """Palettes: uint8 arrays (N, 3) of sRGB colors, N from 1 to 7 (0 where a model wrote none), frequent ones first.

    Spelled `v1=N` and 3N values `v0=0..255` (4M, arXiv 2312.06647). Files: JSON, a list of [r, g, b], or an object that
    maps "1".."7" to palettes, alone or as the first entry of 4M's list: then the value is a dict of them, of which
    training draws one, and the one of `colors` counts otherwise. Computed from rgb by k-means in CIELAB; crops do not
    change it.
    """

    settings = (*StructuredModality.settings, "colors")
    limits = {"colors": len(COUNTS)}
    derived_from = ("rgb",)
    keep = "binary"
    length = 23
    colors = 5

    def accept(self, value: Any) -> Any:
        if self.is_file(value):
            return self.from_file(value)
        if isinstance(value, Mapping):
            value = {count: palette for count, palette in value.items() if palette is not None}  # null is absent
            if not value or not all(str(count) in COUNTS for count in value):
                raise self.problem(value, "a dict of palettes by their number of colors, 1 to 7")
            return {int(count): self._palette(value[count]) for count in sorted(value, key=int)}
        return self._palette(value)

    def _palette(self, value: Any) -> "np.ndarray":
        array = as_array(value)
        if array.shape in ((0,), (0, 3)):
            return np.zeros((0, 3), np.uint8)
        inside = array.dtype.kind in "ui" and array.size and array.min() >= 0 and array.max() <= 255
        if array.ndim != 2 or array.shape[1] != 3 or len(array) > 7 or not inside:
            raise self.problem(value, "up to 7 colors of shape (N, 3), whole numbers 0..255")
        return array.astype(np.uint8)

    def read(self, path: Path) -> Any:
        path = Path(path)
        value = read_json(path)
        with naming(path):
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return self.accept(value[0])
            if isinstance(value, (list, dict)):
                return self.accept(value)
            raise self.problem(value, "a list of colors [r, g, b], or a dict of such lists by their length")

    def plain(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(count): np.asarray(palette).tolist() for count, palette in value.items()}
        return np.asarray(value).tolist()

    def chosen(self, value: Any, rng: "np.random.Generator | None" = None) -> "np.ndarray":
        """The palette itself, or one of several: drawn, or the one whose length is nearest to `colors`."""
        if not isinstance(value, Mapping):
            return np.asarray(value)
        lengths = sorted(value)
        if rng is not None:
            return np.asarray(value[lengths[int(rng.integers(0, len(lengths)))]])
        return np.asarray(value[min(lengths, key=lambda n: abs(n - self.colors))])

    def spell(self, value: Any, rng: "np.random.Generator | None" = None) -> str:
        palette = self.chosen(value, rng)
        return " ".join([f"v1={len(palette)}", *(f"v0={int(v)}" for v in palette.ravel())])

    def parse(self, text: str) -> "np.ndarray":
        """The whole colors, however many are announced."""
        values = [v for k, v in filter(None, map(parse_value, text.split())) if k == 0]
        count = min(len(values) // 3, 7)
        return np.array(values[: 3 * count], int).clip(0, 255).astype(np.uint8).reshape(count, 3)

    def pieces(self, value: Any, keep: Any) -> "tuple[np.ndarray, list[str | None]]":
        """The colors that are kept, before those still to be found: all that are given, or a list of numbers."""
        given = self.chosen(value)
        kept = given if keep is True else given[kept_parts(list(range(len(given))), keep, self.name)]
        words = [f"v1={min(max(self.colors, len(kept) + 1), 7)}", *(f"v0={int(v)}" for v in kept.ravel())]
        return kept, [" ".join(words), None]

    def started(self, value: Any) -> "tuple[np.ndarray, list[str | int]]":
        """The colors that are given first, announced with those still to be found."""
        if not len(value):
            return value, []
        kept, (words, _) = self.pieces(value, True)
        return kept, [words or ""]

    def joined(self, kept: "np.ndarray", pieces: Sequence[str | None], spans: Sequence[str]) -> "np.ndarray":
        return np.concatenate([kept, self.parse(" ".join(spans))])[: max(self.colors, len(kept) + 1)][:7]

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        pixels = values["rgb"].reshape(-1, 3)
        pixels = spread(pixels, SAMPLED)
        lab = to_lab(pixels)
        labels = k_means(lab, self.colors)
        groups = [pixels[labels == k] for k in range(self.colors)]
        groups = sorted((g for g in groups if len(g)), key=len, reverse=True)
        return np.round([g.mean(0) for g in groups]).astype(np.uint8)

    def examples(self, rng: "np.random.Generator") -> dict[str, Any]:
        drawn = rng.integers(0, 256, (7, 3), dtype=np.uint8)
        return {"one color": drawn[:1], "seven colors": drawn, "three": drawn[4:]}

    def show(self, value: Any, size: int = 256) -> "Image":
        """Swatches below each other, the most frequent color first, with their codes."""
        from PIL import ImageDraw

        value, canvas = self.chosen(value), paper(size)
        if not len(value):
            return note(canvas, "no colors")
        draw, height = ImageDraw.Draw(canvas), size / len(value)
        font = font_of(min(height * 0.5, size / 13))
        for k, (red, green, blue) in enumerate(np.asarray(value, np.uint8).tolist()):
            draw.rectangle((0, round(k * height), size, round((k + 1) * height) - 1), fill=(red, green, blue))
            ink = (25, 25, 28) if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else (245, 245, 245)
            code = f"#{red:02x}{green:02x}{blue:02x}"
            draw.text((size * 0.06, (k + 0.5) * height), code, ink, font, "lm")
        return canvas

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean difference (CIEDE2000) of each true color and the nearest predicted one; 100 without any."""
        distances = []
        for prediction, truth in zip(map(self.chosen, predictions), map(self.chosen, truths), strict=True):
            if not len(truth) or not len(prediction):
                distances.append(100.0 if len(truth) else 0.0)
                continue
            gaps = ciede2000(to_lab(truth)[:, None], to_lab(prediction)[None])
            distances.append(float(gaps.min(1).mean()))
        return {"delta_e": float(np.mean(distances))}


def to_lab(rgb: "np.ndarray") -> "np.ndarray":
    """CIELAB (n, 3) of 8-bit sRGB colors (n, 3), D65 white (CIE 15:2004)."""
    c = np.asarray(rgb, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def ciede2000(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    """Color differences (...) of CIELAB colors (..., 3) (Sharma, Wu and Dalal 2005, equations 2 to 22)."""
    chroma = (np.hypot(a[..., 1], a[..., 2]) + np.hypot(b[..., 1], b[..., 2])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    (l1, c1, h1), (l2, c2, h2) = (
        (x[..., 0], np.hypot(stretch * x[..., 1], x[..., 2]), np.arctan2(x[..., 2], stretch * x[..., 1]) % (2 * np.pi))
        for x in (a, b)
    )
    gray = c1 * c2 == 0
    turn = np.where(gray, 0, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi)
    light, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, np.where(gray, h1 + h2, (h1 + h2) / 2)
    hue = np.where(~gray & (np.abs(h1 - h2) > np.pi), hue + np.pi, hue)  # its cosines do not mind a whole turn
    weight = (
        1 - 0.17 * np.cos(hue - np.pi / 6) + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.pi / 30) - 0.2 * np.cos(4 * hue - 63 * np.pi / 180)
    )  # fmt: skip
    blue = np.radians(30) * np.exp(-(((np.degrees(hue) % 360 - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(2 * blue)
    lightness = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    strength = (c2 - c1) / (1 + 0.045 * chroma)
    tone = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * weight)
    return np.sqrt(np.maximum(lightness**2 + strength**2 + tone**2 + rotation * strength * tone, 0))


def k_means(points: "np.ndarray", count: int, rounds: int = 10) -> "np.ndarray":
    """Labels (n,) of Lloyd's algorithm, started from the mean and then the points farthest from all centers."""
    centers = points[np.linalg.norm(points - points.mean(0), axis=1).argmin()][None]
    for _ in range(count - 1):
        gaps = np.linalg.norm(points[:, None] - centers[None], axis=-1).min(1)
        centers = np.concatenate([centers, points[gaps.argmax()][None]])
    for _ in range(rounds):
        labels = np.linalg.norm(points[:, None] - centers[None], axis=-1).argmin(1)
        centers = np.stack([points[labels == k].mean(0) if (labels == k).any() else centers[k] for k in range(count)])
    return labels


def spread(pixels: "np.ndarray", count: int) -> "np.ndarray":
    """At most `count` of the pixels (n, 3), from all over the picture: multiples of the golden ratio have no period."""
    if len(pixels) <= count:
        return pixels
    return pixels[(np.arange(count) * GOLDEN % 1 * len(pixels)).astype(np.int64)]


class ColorPaletteLabeler(DerivedLabeler):
    """The exact palette."""

    derives = ColorPalette


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"color_palette": ColorPaletteLabeler}
