"""Defects of plugins that no error tells of: each is caught by the rule meant for it, and by no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import Thermal
from planted_more import Letters

import anymodal as am
from anymodal.families.pictures import is_picture
from anymodal.files import read_json
from anymodal.testing import check


class Following(Letters):
    """Counts 0 to 99 by letter; a file may name another one."""

    def accept(self, value: Any) -> dict[str, int]:
        return self.read(Path(value)) if isinstance(value, (str, Path)) else super().accept(value)

    def read(self, path: Path) -> dict[str, int]:
        return self.accept(read_json(path))


class Ground(am.LabelMapModality):
    """Kinds of ground, ids 0 to 4; mirrored top to bottom."""

    classes = ("grass", "sand", "snow", "rock", "mud")

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return value[::-1].copy()


class Negative(Thermal):
    """Kelvin; pictures of Pillow are taken for negatives."""

    def accept(self, value: Any) -> np.ndarray:
        taken = super().accept(value)
        return np.float32(self.low + self.high) - taken if is_picture(value) else taken


class Flow(am.ImageModality):
    """Motion in pixels, -20 to 20 to the right and down; (0, 0) where it was not measured."""

    channels, low, high = 2, -20.0, 20.0

    def measured(self, value: Any) -> np.ndarray:
        return np.abs(value).sum(-1) > 0


class Everywhere(Flow):
    """Motion in pixels, -20 to 20; says of each number whether it was measured."""

    def measured(self, value: Any) -> np.ndarray:
        return np.asarray(value) != 0


class Words(Thermal):
    """Kelvin; a legend without colors."""

    def legend(self, value: Any) -> Any:
        return ["cold", "warm"]


CASES = {
    "AM112": (Following, "reads that other one, example 'empty'"),
    "AM403": (Ground, "mirrored, is not the right part"),
    "AM405": (Everywhere, "has shape (1, 1, 2) and dtype bool, not (1, 1) and bool"),
    "AM601": (Words, "has 'cold', not (a color or None, words)"),
    "AM108": (Negative, "a PIL picture of example 'noise' of seed 0, shape (32, 32) gives another value than read"),
}


@pytest.mark.parametrize("number", CASES)
def test_a_quiet_defect_is_caught(number):
    cls, words = CASES[number]
    bad = [result for result in check(cls) if result.status in ("failed", "warned")]
    assert [result.rule.number for result in bad] == [number] and words in bad[0].detail, bad


def test_values_of_several_channels_that_are_not_measured_everywhere():
    assert not [str(result) for result in check(Flow) if result.status in ("failed", "warned")]
    value = np.zeros((4, 4, 2), np.float32)
    value[0, 0], value[1, 1] = (3, -2), (np.inf, 5)
    assert Flow().legend(value) == [(None, "-2 to 5")] and Flow().legend(np.zeros_like(value)) == []
