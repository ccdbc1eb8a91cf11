"""The conformance rules: a good plugin passes, each planted defect is caught by the rule meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import check, conformance


class Thermal(am.ImageModality):
    """Long-wave infrared, kelvin."""

    channels, low, high = 1, 233.0, 393.0


class Channel(Thermal):
    """Forgets the axis of channels."""

    def preprocess(self, value: Any) -> np.ndarray:
        return super().preprocess(value)[0]


class Celsius(Thermal):
    """Comes back in another unit."""

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return super().postprocess(tensor) - 273.15


class Greedy(Thermal):
    """Writes into what it is given."""

    def preprocess(self, value: Any) -> np.ndarray:
        value -= 1
        return super().preprocess(value)


class Noisy(Thermal):
    """Draws from the random numbers of everybody."""

    def preprocess(self, value: Any) -> np.ndarray:
        np.random.rand()
        return super().preprocess(value)


class Gap(Thermal):
    """Lets NaN through."""

    def preprocess(self, value: Any) -> np.ndarray:
        return (2 * (np.asarray(value, np.float32) - self.low) / (self.high - self.low) - 1)[None]


class Lenient(Thermal):
    """Takes anything."""

    def accept(self, value: Any) -> Any:
        return value


class Tilted(Thermal):
    """Turns upside down when mirrored, and a bit further."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return np.roll(super().mirror(value), 1, 0)


class Grey(Thermal):
    """Shows a picture without colours."""

    def show(self, value: Any, size: int = 256) -> Any:
        return super().show(value, size).convert("L")


class Neighbours(Thermal):
    """Scales by what else is in the batch."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return super().tokenize([v - np.mean(values) + 300 for v in values])


class Overflow(Thermal):
    """Counts ids from one."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {name: [ids + self.codebook for ids in rows] for name, rows in super().tokenize(values).items()}


class Silent(Thermal):
    channels = 1


PLANTED = {
    "AM002": Silent,
    "AM101": Channel,
    "AM103": Celsius,
    "AM104": Greedy,
    "AM106": Noisy,
    "AM107": Gap,
    "AM110": Lenient,
    "AM202": Overflow,
    "AM303": Neighbours,
    "AM402": Tilted,
    "AM601": Grey,
}


def test_a_good_plugin_passes():
    assert not [str(result) for result in check(Thermal) if result.status in ("failed", "warned")]


@pytest.mark.parametrize("number", PLANTED)
def test_a_planted_defect_is_caught_with_its_fix(number):
    (result,) = [result for result in check(PLANTED[number]) if result.rule.number == number]
    assert result.bad, result
    assert f"fix: {result.rule.fix}" in str(result)


def test_dependent_rules_are_left_out_after_a_failure():
    statuses = {result.rule.number: result for result in check(Channel)}
    assert statuses["AM102"].status == "skipped" and "AM101 comes first" in statuses["AM102"].detail


def test_exceptions_are_declared_with_a_reason_and_must_be_true():
    conformance(Celsius, expected_failures={"AM103": "shown in another unit"})()
    with pytest.raises(AssertionError, match=r"AM103 .*passes, though it is declared to fail"):
        conformance(Thermal, expected_failures={"AM103": "shown in another unit"})()
    with pytest.raises(ValueError, match="needs a reason"):
        check(Thermal, {"AM103": " "})
    with pytest.raises(ValueError, match="no rule 'AM999'"):
        check(Thermal, {"AM999": "why"})
