"""Sets and models as tables in notebooks."""

from __future__ import annotations

from xml.etree import ElementTree

import anymodal as am
from anymodal.notebook import LONGEST, ROWS


def cells(html: str) -> list[list[str]]:
    """The text of each row. Raises ParseError for what is no well-formed table."""
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(f"<div>{html}</div>").iter("tr")]


def test_a_set_says_what_it_reads_and_makes():
    rgb = am.registry().modality("rgb")(size=64, patch=8, codebook=512)
    found = cells(am.ModalitySet([rgb])._repr_html_())
    assert found[1][0] == "rgb" and found[1][2:] == ["in and out", "8 x 8 of 512 ids"]


def test_a_model_shows_its_modalities(small_model):
    html = small_model._repr_html_()
    assert [row[0] for row in cells(html)[1:]] == list(small_model.modalities.modalities) and "parameters" in html


def test_what_a_plugin_says_is_escaped_and_cut():
    made = am.image("hostile", channels=1, low=0, high=1)
    made.__doc__ = "<script>alert('x')</script>" + "y" * 10_000
    html = am.ModalitySet([made])._repr_html_()
    assert "<script" not in html and max(len(cell) for row in cells(html) for cell in row) <= LONGEST
    assert cells(html)[1][1].startswith("<script>alert('x')")


def test_many_modalities_are_counted_rather_than_shown():
    many = am.ModalitySet([am.numbers(f"n{k}", fields={"x": am.Number(0, 0, 9, bins=4)}) for k in range(ROWS + 3)])
    found = cells(many._repr_html_())
    assert len(found) == ROWS + 2 and found[-1][0] == "and 3 more"
