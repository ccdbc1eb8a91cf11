from __future__ import annotations

import json

import numpy as np
import pytest
from anymodal_color_palette import ColorPalette, ColorPaletteLabeler
from hypothesis import given
from hypothesis import strategies as st

from anymodal.errors import ConfigError, ValueProblem
from anymodal.outputs.equality import same
from anymodal.testing import conformance

test_conformance = conformance("color_palette")

words = st.one_of(st.builds("v{}={}".format, st.integers(0, 3), st.integers(0, 999)), st.text(max_size=4))


@given(st.lists(words, max_size=30).map(" ".join))
def test_any_text_is_parsed_into_colors(text):
    found = ColorPalette().parse(text)
    assert found.dtype == np.uint8 and found.shape[1:] == (3,) and len(found) <= 7


def test_one_of_several_palettes_is_drawn(tmp_path):
    several = {str(n): [[n, 0, k] for k in range(n)] for n in range(1, 8)}
    path, modality = tmp_path / "a.json", ColorPalette()
    path.write_text(json.dumps([several]))
    value = modality.read(path)
    rng = np.random.default_rng(0)
    drawn = {int(modality.spell(value, rng).split()[0].removeprefix("v1=")) for _ in range(100)}
    assert drawn == set(range(1, 8))
    assert modality.spell(value).startswith("v1=5 v0=5 v0=0 v0=0")
    modality.write(value, path)
    assert same(modality.read(str(path)), value) and same(modality.accept(modality.plain(value)), value)
    assert modality.score([value], [value])["delta_e"] == 0 and modality.show(value, 32).size == (32, 32)


@pytest.mark.parametrize("bad", [[{}], [{"3": [[1, 2]]}], [[1, 2, 300]], 5, [{"a": [[1, 2, 3]]}]])
def test_damaged_files_are_refused(tmp_path, bad):
    (tmp_path / "a.json").write_text(json.dumps(bad))
    with pytest.raises(ValueProblem):
        ColorPalette().read(tmp_path / "a.json")


def test_lengths_that_a_file_lacks_may_be_null(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"1": [[1, 2, 3]], "2": None}]))
    assert same(ColorPalette().read(tmp_path / "a.json"), {1: np.array([[1, 2, 3]], np.uint8)})


def test_no_more_colors_are_looked_for_than_a_palette_has():
    with pytest.raises(ConfigError, match="'colors' of 'color_palette': expected at most 7, got 8"):
        ColorPalette(colors=8)


def test_the_labeler_is_exact():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = (255, 0, 0)
    (palette,) = ColorPaletteLabeler().label([{"rgb": picture}])
    assert {tuple(c) for c in palette.tolist()} == {(0, 0, 0), (255, 0, 0)}
