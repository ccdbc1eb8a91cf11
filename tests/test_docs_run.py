"""Every page runs as it is printed, in a fresh checkout; long commands are made short."""

from __future__ import annotations

import pytest
from environments import Environment
from pages import ROOT, WHOLE, as_checkout, label, run_whole

QUICK = ROOT / "docs" / "index.md"


def run_in_checkout(page, folder):
    work = folder / "work"
    work.mkdir()
    run_whole(page, as_checkout(work), Environment(folder, in_checkout=True))


def test_the_first_page_runs(tmp_path):
    run_in_checkout(QUICK, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WHOLE if page != QUICK], ids=label)
def test_a_page_runs(page, tmp_path):
    run_in_checkout(page, tmp_path)
