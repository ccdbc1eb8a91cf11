"""Named numbers about a sample, one chunk `v1=CODE v0=VALUE` each (4M-21, arXiv 2406.09406, metadata)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.errors import ConfigError, ValueProblem, brief, nearest
from anymodal.families.drawing import INK, font_of, note, paper, shortened
from anymodal.families.text import MOST_LEVELS, StructuredModality
from anymodal.files import naming, read_json
from anymodal.text import parse_value

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np


LARGEST = 1e300


@attrs.frozen
class Number:
    """One named number: `code` is its own, `low` to `high` its range.

    Written in `bins` equal bins of the range, or by the count of `edges` at or below it, or else in whole steps of
    `step` from 0 (counts and sizes). Raises ConfigError for numbers that do not go together.
    """

    code: int
    low: float = 0.0
    high: float = math.inf
    bins: int = 0
    edges: tuple[float, ...] = ()
    step: int = 1

    def __attrs_post_init__(self) -> None:
        if self.bins and (self.bins < 2 or not self.low < self.high < math.inf):
            raise ConfigError(f"bins need a low below a finite high, and two of them; got {self}")
        if list(self.edges) != sorted(self.edges) or (self.edges and not self.low < self.high < math.inf):
            raise ConfigError(f"edges ascend, between a low and a finite high; got {self}")
        if self.low < 0 and not self.bins and not self.edges:
            raise ConfigError(f"whole steps are counted from 0, and numbers below it need bins or edges; got {self}")
        if self.code < 0 or self.step < 1:
            raise ConfigError(f"a code is at least 0, and a step at least 1; got {self}")

    def level(self, value: float, levels: int) -> int:
        """The whole number from 0 to levels - 1 that stands for a value."""
        if self.bins:
            share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
            found = int(share * (self.bins - 1))
        elif self.edges:
            found = bisect_right(self.edges, value)
        else:
            found = int(value // self.step)
        return min(max(found, 0), levels - 1)

    def value(self, level: int) -> float:
        """The middle of what a level stands for; sizes and counts are whole."""
        if self.bins:
            share = min(level + 0.5, self.bins - 1) / (self.bins - 1)
            return self.low + share * (self.high - self.low)
        if self.edges:
            borders = (self.low, *self.edges, self.high)
            return (borders[level] + borders[level + 1]) / 2
        return level * self.step

    def knows(self, level: int) -> bool:
        """Whether a level is one that `level` can give."""
        return 0 <= level < (self.bins or (len(self.edges) + 1 if self.edges else level + 1))


class NumbersModality(StructuredModality):
    """Values are dicts from names of `fields` to numbers; any of them may be absent.

    Files: JSON, a flat object; names of other modalities in it are passed over, so that several may share one file.
    `levels` bounds what a chunk can say. Crops and flips change nothing.
    """

    family: ClassVar[str] = "numbers"
    settings: ClassVar[tuple[str, ...]] = (*StructuredModality.settings, "levels")
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {"levels": MOST_LEVELS}
    fields: ClassVar[Mapping[str, Number]] = {}
    length: int = 40
    levels: int = 1000

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[int, str] = {}
        for name, field in self.fields.items():
            if max(field.code + 1, field.bins, len(field.edges) + 1) > self.levels:
                raise ConfigError(f"{self.name} has {self.levels} levels, too few for {name!r}: {field}")
            if names.setdefault(field.code, name) != name:
                raise ConfigError(f"{self.name} gives {names[field.code]!r} and {name!r} the same code {field.code}")

    def accept(self, value: Any) -> dict[str, float]:
        if self.is_file(value):
            return self.from_file(value)
        if not isinstance(value, Mapping):
            raise self.problem(value, "a dict of named numbers")
        for name, number in value.items():
            if name not in self.fields:
                near = nearest(f"{name!s:.80}", self.fields)
                raise ValueProblem(f"{self.name} takes a dict of {', '.join(self.fields)}, not {brief(name)}{near}")
            if number is not None and not _is_number(number):
                raise ValueProblem(f"{self.name} takes a finite number for {name!r}, not {brief(number)}")
        return {name: _plain(number) for name, number in value.items() if number is not None}  # null is absent

    def read(self, path: Path) -> dict[str, float]:
        path = Path(path)
        value = read_json(path)
        with naming(path):
            if not isinstance(value, dict):
                raise self.problem(value, "a JSON object of named numbers")
            return self.accept({name: number for name, number in value.items() if name in self.fields})

    def chunks(self, value: Any, rng: np.random.Generator | None = None) -> list[str]:
        spelled = [f"v1={self.fields[n].code} v0={self.fields[n].level(v, self.levels)}" for n, v in value.items()]
        return spelled if rng is None else [spelled[k] for k in rng.permutation(len(spelled))]

    def spell(self, value: Any, rng: np.random.Generator | None = None) -> str:
        """The chunks in the order of the dict."""
        return " ".join(self.chunks(value, rng))

    def parse(self, text: str) -> dict[str, float]:
        """The numbers whose chunks are whole and known; the first of a name counts."""
        by_code = {field.code: name for name, field in self.fields.items()}
        found: dict[str, float] = {}
        words = [parse_value(word) for word in text.split()]
        for first, second in pairwise(words):
            if first and second and (first[0], second[0]) == (1, 0):
                name = by_code.get(first[1])
                if name is not None and self.fields[name].knows(second[1]):
                    found.setdefault(name, self.fields[name].value(second[1]))
        return found

    def show(self, value: Any, size: int = 256) -> Image:
        """A small table: names, bars for what has a range, and the numbers."""
        from PIL import ImageDraw

        picture, rows = paper(size), list(value.items())
        if not rows:
            return note(picture, "no numbers")
        draw, height = ImageDraw.Draw(picture), min(size * 0.94 / len(rows), size / 7)
        font = font_of(min(height * 0.62, size / 16))
        left, right, top = size * 0.04, size * 0.96, (size - height * len(rows)) / 2
        for k, (name, number) in enumerate(rows):
            y, field = top + (k + 0.5) * height, self.fields[name]
            if math.isfinite(field.high):
                share = min(max((number - field.low) / (field.high - field.low), 0), 1)
                draw.rectangle((left, y - height * 0.4, right, y + height * 0.4), (236, 234, 228))
                full = (left, y - height * 0.4, left + (right - left) * share, y + height * 0.4)
                draw.rectangle(full, (188, 212, 230))
            text = f"{number:.3g}" if isinstance(number, float) and abs(number) < 1000 else f"{number:.10g}"
            room = size * 0.83 - font.getlength(text)
            draw.text((size * 0.07, y), shortened(name.replace("_", " "), room, font), INK, font, "lm")
            draw.text((size * 0.93, y), text, INK, font, "rm")
        return picture

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean absolute error by name, where both have it, and `found`: the share of true names that were given."""
        scores, given, wanted = {}, 0, 0
        for name in self.fields:
            pairs = [(p.get(name), t[name]) for p, t in zip(predictions, truths, strict=True) if name in t]
            errors = [abs(p - t) for p, t in pairs if p is not None]
            wanted, given = wanted + len(pairs), given + len(errors)
            if errors:
                scores[name] = float(np.mean(errors))
        return {"found": given / wanted if wanted else 1.0} | scores


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    number: Any = value.item() if isinstance(value, np.generic) else value
    return bool(abs(number) < LARGEST)  # false for NaN too


def _plain(value: Any) -> float:
    """A Python int or float."""
    return int(value) if isinstance(value, (int, np.integer)) else float(value)
