"""How the counted work of generation grows: in operations and steps, whatever they take here."""

from __future__ import annotations

import functools
import itertools

import pytest

from benchmarks import growth
from benchmarks.growth import Growth, Point, drawn

counted = functools.cache(growth.counted)


def test_samples_cost_what_they_cost_alone():
    (one, steps), (four, same) = counted(Point()), counted(Point(samples=4))
    assert four == pytest.approx(4 * one, rel=1e-6) and same == steps


def test_modalities_that_are_not_used_cost_nothing():
    assert counted(Point(targets=2, unused=18)) == counted(Point(targets=2))


def test_tokens_cost_in_proportion_and_attention_the_square():
    work = [counted(Point(tokens=tokens))[0] for tokens in (64, 128, 256, 512)]
    first, second, third = (later - earlier for earlier, later in itertools.pairwise(work))
    assert 2 < second / first < third / second < 4  # products in proportion, attention by the square


def test_a_target_costs_its_own_passes_and_those_over_what_came_before():
    work, steps = zip(*(counted(Point(targets=count)) for count in (1, 2, 3)), strict=True)
    assert steps == tuple(count * steps[0] for count in (1, 2, 3))
    assert work[0] <= work[1] - work[0] < work[2] - work[1] < 3 * work[0]  # each reads those before


def test_a_figure_has_a_panel_for_each_axis(tmp_path):
    found = {axis: {1: {"gflop": 1, "seconds": 1}, 4: {"gflop": 4, "seconds": 3}} for axis in ("samples", "unused")}
    text = drawn(found)
    assert text.count("<polyline") == 4 and text.count("<circle") == 4 and "modalities that are not used" in text
    assert Growth(figure=str(tmp_path / "x.svg")).figure
