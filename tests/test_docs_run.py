"""Every page runs as it is printed, in a checkout and with wheels alone; long commands are made short."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import Environment, build_wheel
from pages import PAGES, ROOT, as_checkout, label, run_whole, steps_of

WHOLE = [page for page in PAGES if steps_of(page, ("bash", "python"))]


def workplace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A folder with the wheels of the core and of every plugin."""
    out = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))):
        build_wheel(project, out)
    return out


@pytest.fixture(scope="module")
def installed(wheels, tmp_path_factory) -> Environment:
    """An environment with all wheels, and nothing of the checkout."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(*sorted(wheels.glob("*.whl")))
    return environment


def test_the_readme_runs_in_a_checkout(tmp_path):
    environment = Environment(tmp_path, in_checkout=True)
    run_whole(ROOT / "README.md", as_checkout(workplace(tmp_path)), environment)


@pytest.mark.slow
def test_the_readme_runs_from_nothing_but_wheels(wheels, tmp_path):
    """Its first command installs them."""
    run_whole(ROOT / "README.md", workplace(tmp_path), Environment(tmp_path, wheels=wheels))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WHOLE if page != ROOT / "README.md"], ids=label)
def test_a_page_runs_in_a_checkout(page, tmp_path):
    environment = Environment(tmp_path, in_checkout=True)
    run_whole(page, as_checkout(workplace(tmp_path)), environment)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WHOLE if page != ROOT / "README.md"], ids=label)
def test_a_page_runs_with_wheels_alone(page, installed, wheels, tmp_path):
    run_whole(page, workplace(tmp_path), Environment(tmp_path, like=installed, wheels=wheels))
