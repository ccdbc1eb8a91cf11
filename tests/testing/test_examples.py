"""Example values that the rules look at: the modality's own, or those that are read in random value tokens."""

from __future__ import annotations

import pytest

import anymodal as am
from anymodal.testing import check
from anymodal.testing.values import examples
from anymodal.text import parse_value


class Legs(am.StructuredModality):
    """Legs of a walk: lists of lists (east, north, up, seconds) of whole numbers from 0 to 199."""

    length = 41

    def accept(self, value):
        whole = isinstance(value, list) and all(isinstance(leg, list) and len(leg) == 4 for leg in value)
        if not whole or not all(type(n) is int and 0 <= n < 200 for leg in value for n in leg):
            raise self.problem(value, "lists of four whole numbers from 0 to 199")
        return value

    def chunks(self, value, rng=None):
        return [" ".join(f"v{k}={n}" for k, n in enumerate(leg)) for leg in value]

    def spell(self, value, rng=None):
        return " ".join(self.chunks(value))

    def parse(self, text):
        legs = [[]]
        for pair in filter(None, map(parse_value, text.split())):
            if pair[0] != len(legs[-1]) or pair[1] > 199:
                legs[-1] = []
            elif pair[0] == 3:
                legs[-1:] = [[*legs[-1], pair[1]], []]
            else:
                legs[-1].append(pair[1])
        return legs[:-1][:10]

    def show(self, value, size=256):
        from PIL import Image

        picture = Image.new("RGB", (size, size))
        for k, leg in enumerate(value):
            picture.putpixel((k, leg[0] % size), tuple(leg[1:]))
        return picture

    def score(self, predictions, truths):
        return {"same": sum(p == t for p, t in zip(predictions, truths, strict=True)) / len(truths)}


def test_values_whose_tokens_follow_one_another_need_no_examples_of_their_own():
    """Texts of value tokens at random hold none of them: all rules would see empty lists."""
    assert any(len(example.value) > 1 for example in examples(Legs()))
    assert not [str(result) for result in check(Legs) if result.status in ("failed", "warned")]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"one": [], "two": []}, "all examples are one value, list"),
        ([[1, 2, 3, 4]], "examples of modality 'legs' returns a dict of natural values by kind, not list"),
    ],
)
def test_examples_that_show_nothing_are_told_before_what_follows_of_them(own, words):
    cls = type("Legs", (Legs,), {"__doc__": "Legs.", "examples": lambda self, rng: own})
    bad = {r.rule.number: r for r in check(cls) if r.status in ("failed", "warned")}
    assert words in bad["AM100"].detail and "from examples(self, rng)" in str(bad["AM100"])
    assert set(bad) <= {"AM011", "AM100"}


def test_a_modality_that_reads_nothing_in_value_tokens_needs_examples():
    cls = type("Legs", (Legs,), {"__doc__": "Legs.", "parse": lambda self, text: []})
    (found,) = [r for r in check(cls) if r.status in ("failed", "warned")]
    assert found.rule.number == "AM100" and "it has no `examples`, and what it reads in" in found.detail
