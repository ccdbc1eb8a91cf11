"""Every page runs as it is printed with wheels alone, in an empty folder; long commands are made short."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from environments import Environment, build_wheel
from pages import ROOT, WHOLE, label, run_whole

pytestmark = pytest.mark.slow
README = ROOT / "README.md"


def empty(folder: Path) -> Path:
    work = folder / "work"
    work.mkdir()
    return work


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


def test_every_wheel_has_the_license(wheels):
    found = sorted(wheels.glob("*.whl"))
    assert len(found) == 1 + len(list(ROOT.glob("plugins/*/pyproject.toml")))
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            (place,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
            assert archive.read(place) == (ROOT / "LICENSE").read_bytes()


def test_the_readme_begins_with_nothing_installed(wheels, tmp_path):
    """Its first command installs the wheels."""
    run_whole(README, empty(tmp_path), Environment(tmp_path, wheels=wheels))


@pytest.mark.parametrize("page", [page for page in WHOLE if page != README], ids=label)
def test_a_page_runs(page, installed, wheels, tmp_path):
    run_whole(page, empty(tmp_path), Environment(tmp_path, like=installed, wheels=wheels))
