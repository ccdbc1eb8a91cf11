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


CASES = {
    "AM112": (Following, "reads that other one, example 'empty'"),
    "AM403": (Ground, "mirrored, is not the right part"),
    "AM108": (Negative, "a PIL picture of example 'noise' of seed 0, shape (32, 32) gives another value than read"),
}


@pytest.mark.parametrize("number", CASES)
def test_a_quiet_defect_is_caught(number):
    cls, words = CASES[number]
    bad = [result for result in check(cls) if result.status in ("failed", "warned")]
    assert [result.rule.number for result in bad] == [number] and words in bad[0].detail, bad
