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
from anymodal.testing.choose import find
from anymodal.testing.run import Inspection


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


class Buoy(am.SignalModality):
    """Height of waves, 0 to 9 meters; NaN where nothing was measured."""

    shape, cell, codebook = (64,), (8,), 16
    low, high = 0.0, 9.0
    nan_is_missing = True


class Unsaid(Buoy):
    """Height of waves, 0 to 9 meters; examples have gaps, and the class does not say so."""

    nan_is_missing = False

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        gap = np.linspace(0, 9, self.shape[0], dtype=np.float32)
        gap[3] = np.nan
        return {"gap": gap, "calm": np.zeros(self.shape[0], np.float32)}


class Refusing(Buoy):
    """Height of waves, 0 to 9 meters; refuses the gaps that it says it takes."""

    def accept(self, value: Any) -> np.ndarray:
        array = super().accept(value)
        if np.isnan(array).any():
            raise self.problem(value, "heights without gaps")
        return array


class Unscored(Buoy):
    """Height of waves, 0 to 9 meters; a gap makes the score one."""

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"mae": float(np.abs(np.subtract(predictions, truths)).mean())}


class Halving(Thermal):
    """Kelvin; scores halve what they are given."""

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        scores = super().score(predictions, truths)
        predictions[0] *= 0.5
        return scores


class Emptying(Thermal):
    """Kelvin; files are written of a value that is 0 afterwards."""

    def write(self, value: Any, path: Path) -> None:
        super().write(value, path)
        value *= 0


class Eating(Thermal):
    """Kelvin; decodes tokens, which are 0 afterwards."""

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        values = super().detokenize_stream(stream, [ids.copy() for ids in tokens])
        for ids in tokens:
            ids *= 0
        return values


class Trailing(Thermal):
    """Kelvin; a trace of the picture before is left in the tensor of the next."""

    last = 0.0

    def preprocess(self, value: Any) -> np.ndarray:
        tensor = super().preprocess(value)
        tensor[0, 0, 0] += 1e-3 * self.last
        self.last = float(tensor.mean())
        return tensor


class Keyed(Thermal):
    """Kelvin; a setting that JSON cannot hold as it is."""

    settings = (*Thermal.settings, "bands")
    bands = {1: "near", 2: "far"}


class Stacked(Thermal):
    """Kelvin; its values come as one array."""

    def detokenize(self, tokens: list[np.ndarray]) -> Any:
        return np.stack(super().detokenize(tokens))


class Piled(Thermal):
    """Kelvin; its tokens come as one array."""

    def tokenize(self, values: list[Any]) -> Any:
        return {name: np.stack(arrays) for name, arrays in super().tokenize(values).items()}


CASES = {
    "AM104 score": (Halving, "score changes its argument, example 'constant' of seed 0, shape (32, 32)"),
    "AM104 write": (Emptying, "write changes its argument, example 'constant' of seed 0, shape (32, 32)"),
    "AM104 tokens": (Eating, "detokenize changes the tokens of example 'constant' of seed 0, shape (32, 32)"),
    "AM105": (Trailing, "preprocess of example 'noise' of seed 0, shape (32, 32) differs the second time"),
    "AM208": (
        Keyed,
        "the setting 'bands' is {1: 'near', 2: 'far'}, and {'1': 'near', '2': 'far'} once JSON has held it",
    ),
    "AM202": (Piled, "returns ndarray of shape (1, 16) for the stream 'piled', not a list of arrays"),
    "AM301": (Stacked, "returns ndarray of shape (1, 32, 32), not a list"),
    "AM112": (Following, "reads that other one, example 'empty'"),
    "AM403": (Ground, "mirrored, is not the right part"),
    "AM405": (Everywhere, "has shape (1, 1, 2) and dtype bool, not (1, 1) and bool"),
    "AM601": (Words, "has 'cold', not (a color or None, words)"),
    "AM011": (Unsaid, "example 'gap' of seed 0, shape (48,) holds NaN, and nan_is_missing is false"),
    "AM107": (Refusing, "nan_is_missing is true, and example 'silence' of seed 0, shape (48,) with one NaN is refused"),
    "AM107 score": (Unscored, "mae of example 'silence' of seed 0, shape (48,) against itself with one NaN"),
    "AM108": (Negative, "a PIL picture of example 'noise' of seed 0, shape (32, 32) gives another value than read"),
}


@pytest.mark.parametrize("number", CASES)
def test_a_quiet_defect_is_caught(number):
    cls, words = CASES[number]
    bad = [result for result in check(cls) if result.status in ("failed", "warned")]
    (found,) = [result for result in bad if result.rule.number == number.partition(" ")[0]]
    assert words in found.detail, found
    assert len(bad) == 1 or cls in (Trailing, Eating, Emptying, Piled), bad


class Pulse(am.SignalModality):
    """A heartbeat."""

    shape, cell, rate, unit, low, high = (64,), (8,), 64, "mV", -2.0, 2.0


class Soil(am.LabelMapModality):
    """What the ground is."""

    classes = ("sand", "clay")


@pytest.mark.parametrize("cls", [Pulse, Soil])
def test_numbers_that_a_class_explains_need_no_words_for_it(cls):
    (target,) = find(cls)
    assert Inspection(target).judge("AM113").status == "passed"


def test_signals_with_gaps_are_good():
    assert not [str(result) for result in check(Buoy) if result.status in ("failed", "warned")]


def test_values_of_several_channels_that_are_not_measured_everywhere():
    assert not [str(result) for result in check(Flow) if result.status in ("failed", "warned")]
    value = np.zeros((4, 4, 2), np.float32)
    value[0, 0], value[1, 1] = (3, -2), (np.inf, 5)
    assert Flow().legend(value) == [(None, "-2 to 5")] and Flow().legend(np.zeros_like(value)) == []
