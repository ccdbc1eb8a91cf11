"""What notebooks show: tables whose cells are text, whatever stands in them."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import anymodal as am
from anymodal.evaluation.calibration import Calibration, Temperature
from anymodal.evaluation.report import Evaluation
from anymodal.notebook import LONGEST, ROWS, html_table
from anymodal.retrieval import Hit, Hits, Index
from anymodal.transfer.probing import Probed
from anymodal.transfer.tuning.result import Transferred

EVIL = "<script>alert('x')</script>"


def rows(shown: object) -> list[list[str]]:
    """The text of each row of what a notebook shows. Raises ParseError for what is not well-formed."""
    html = shown if isinstance(shown, str) else shown._repr_html_()
    assert "<script" not in html
    return [[cell.text or "" for cell in row] for row in ElementTree.fromstring(f"<div>{html}</div>").iter("tr")]


def test_tables_escape_cut_and_count():
    found = rows(html_table(("a", "b"), [(EVIL, 0.123456), ("y" * 1000, None), *[("", 1)] * ROWS], EVIL))
    assert found[1] == [EVIL, "0.1235"] and found[2] == ["y" * LONGEST, ""]
    assert len(found) == ROWS + 2 and found[-1] == ["and 2 more", ""]


def test_an_index_and_its_hits(tmp_path):
    index = Index.create(tmp_path / "index", channels=4)
    index.add(np.eye(4, dtype=np.float32), [f"n{k}{EVIL}" for k in range(4)], columns={"text": [EVIL] * 4})
    assert ["vectors", "4"] in rows(index) and ["columns", "text (text)"] in rows(index)
    hits = index.search(np.eye(4, dtype=np.float32)[2], top=2)
    assert isinstance(hits, list) and rows(hits)[0] == ["score", "name", "text"]
    assert rows(hits)[1] == ["1.0000", f"n2{EVIL}", EVIL]
    assert rows(Hits([Hit("a", 0.5, 0, "", {"x": 1.0}), Hit("b", 0.25, 1, "", {"y": EVIL})]))[2] == [
        "0.2500",
        "b",
        "",
        EVIL,
    ]


def test_an_evaluation():
    found = Evaluation(EVIL, EVIL, EVIL, 3, {"model": {EVIL: 0.5}, "constant": {"ΔE": 2.0}}, {}, notes=[EVIL])
    assert rows(found) == [["score", "model", "constant"], [EVIL, "0.5", ""], ["ΔE", "", "2"]]
    assert "3 samples" in found._repr_html_()


def test_a_calibration():
    before, after = SimpleNamespace(error=0.25), SimpleNamespace(error=0.01)
    found = Calibration(EVIL, EVIL, ["rgb"], 5, 6, [Temperature(EVIL, "ids", 1.25, before, after)])
    assert rows(found)[1] == [EVIL, "ids", "1.25", "25.00 %", "1.00 %"]


def test_a_probe():
    once = Probed(EVIL, [{"accuracy": 0.5}], [{"accuracy": 0.1}], 3, 1)
    assert rows(once) == [["score", "mean", "95 %", "constant"], ["accuracy", "0.5", "", "0.1"]]
    twice = Probed(EVIL, [{"accuracy": 0.5}, {"accuracy": 0.6}], [{"accuracy": 0.1}], 3, 1)
    assert " to " in rows(twice)[1][2]


def test_a_head():
    task, solver = SimpleNamespace(name=EVIL), SimpleNamespace(facts={"classes": [EVIL]})
    made = Transferred.__new__(Transferred)
    made.config, made.solver = SimpleNamespace(task=task, reads=("rgb",)), solver
    assert rows(made)[0] == ["head", f"{EVIL} from rgb"] and rows(made)[1][0] == "classes"


@pytest.mark.parametrize("name", ["Outputs", "ModalitySet", "AnyModel", "Index", "Evaluation"])
def test_what_is_public_shows_itself(name):
    shown = vars(getattr(am, name)) if hasattr(am, name) else vars(Index if name == "Index" else Evaluation)
    assert "_repr_html_" in shown or "_repr_png_" in shown
