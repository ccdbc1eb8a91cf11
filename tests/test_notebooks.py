"""The notebooks are small, clean and whole; the first one runs here, all of them in `make slow`."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
from pathlib import Path

import nbformat
import pytest

from anymodal.cli.main import main

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 2_000_000  # of all notebooks together
SITE = "https://anymodal.github.io/anymodal/"

spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
assert spec and spec.loader
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)


def read(path: Path):
    return nbformat.read(path, 4)


def codes(path: Path, *, fast: bool = False) -> list[str]:
    """The sources of the cells that run."""
    cells = [cell for cell in read(path).cells if cell.cell_type == "code" and not runner.is_installing(cell)]
    return [cell.metadata.get("fast", cell.source) if fast else cell.source for cell in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEach:
    def test_it_begins_with_a_title_and_one_line_that_installs(self, path):
        notebook = read(path)
        nbformat.validate(notebook)
        first, second = notebook.cells[:2]
        assert first.source.startswith("# ")
        assert f"colab.research.google.com/github/anymodal/anymodal/blob/main/{path.relative_to(ROOT)})" in first.source
        assert re.fullmatch(r"%pip install -q 'anymodal\[[a-z,]+\]'", second.source) and runner.is_installing(second)

    def test_it_is_legible(self, path):
        cells = read(path).cells
        assert len(cells) <= 30 and max(cell.source.count("\n") for cell in cells) < 35

    def test_what_it_shows_is_what_its_cells_made(self, path):
        notebook = read(path)
        assert notebook.metadata["ran"] == runner.digest(notebook)
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs)
        assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
        assert not re.search(r"/(tmp|home|root|work|Users)/", path.read_text())

    def test_links_lead_somewhere(self, path):
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if link.startswith(SITE):
                assert (ROOT / "docs" / f"{link.removeprefix(SITE).rstrip('/')}.md").is_file(), link
            elif "://" not in link:
                assert (FOLDER / link).is_file(), link

    @pytest.mark.slow
    def test_it_runs(self, path, tmp_path):
        made = runner.run(read(path), tmp_path, fast=True)
        assert len(made.cells) == len(read(path).cells)


def test_together_they_are_small():
    assert len(NOTEBOOKS) >= 7 and sum(path.stat().st_size for path in NOTEBOOKS) < MOST_BYTES


def test_they_are_listed_where_people_look():
    for page in (ROOT / "docs" / "tutorial" / "notebooks.md", FOLDER / "README.md"):
        assert all(path.name in page.read_text() for path in NOTEBOOKS), page
    assert "(examples/notebooks/README.md)" in (ROOT / "README.md").read_text()


def test_the_first_one_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for source in codes(FOLDER / "first-steps.ipynb", fast=True):
        if source.startswith("!anymodal "):
            with contextlib.suppress(SystemExit):
                main(shlex.split(source.removeprefix("!anymodal ")))
        else:
            exec(compile(source, "first-steps.ipynb", "exec"), names)
    assert (tmp_path / "out" / "run.json").is_file() and names["out"] == names["again"]


def test_progress_and_folders_are_not_kept(tmp_path):
    cell = nbformat.v4.new_code_cell("pass", id="one")
    display = nbformat.v4.new_output("display_data", {"text/plain": "generating 5/5"})
    said = nbformat.v4.new_output("stream", name="stdout", text=f"wrote {tmp_path}/work/out")
    warned = nbformat.v4.new_output("stream", name="stderr", text="slow")
    shown = nbformat.v4.new_output("execute_result", {"text/plain": "x", "text/html": "<b>x</b>"}, execution_count=4)
    cell.outputs = [display, said, warned, shown]
    kept = runner.slim(nbformat.v4.new_notebook(cells=[cell]), tmp_path).cells[0].outputs
    assert [output.get("text") or output.data for output in kept] == ["wrote out", {"text/html": "<b>x</b>"}]
