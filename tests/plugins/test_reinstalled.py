"""A plugin that is installed, changed or removed while the interpreter runs, as in a notebook."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

import anymodal as am
from anymodal.errors import UnknownModality
from anymodal.plugins.registry import Registry, use
from anymodal.testing.choose import find
from anymodal.testing.run import Inspection

GOOD = '''
from anymodal import ImageModality


class Glow(ImageModality):
    """Glow, 0 to 7 units."""

    channels, low, high = 1, 0.0, 7.0
'''
RAISES = GOOD + "\n    def preprocess(self, value):\n        return value['glow']\n"


class Site:
    """A folder as site-packages, on sys.path, to which installers write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, source: str, version: str = "0.1", editable: Path | None = None) -> None:
        for old in self.folder.glob("anymodal_glow-*"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        info = self.folder / f"anymodal_glow-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: anymodal-glow\nVersion: {version}\nSummary: Glow\nLicense: MIT\n"
            "Requires-Dist: anymodal<1\n"
        )
        (info / "entry_points.txt").write_text("[anymodal]\nglow = anymodal_glow:Glow\n")
        place = editable or self.folder
        place.mkdir(exist_ok=True)
        (place / "anymodal_glow.py").write_text(textwrap.dedent(source))
        if editable is not None:
            (self.folder / "_anymodal_glow.pth").write_text(f"{editable}\n")
            (info / "RECORD").write_text(f"_anymodal_glow.pth,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with use(Registry()):
        yield Site(folder)
    sys.modules.pop("anymodal_glow", None)


def broken(what: str) -> bool:
    """Whether it is judged to break the rule on what `preprocess` returns."""
    (target,) = find(what)
    return Inspection(target).judge("AM101").bad


def test_one_installed_while_python_runs_is_found(site, tmp_path):
    with pytest.raises(UnknownModality):
        am.registry().modality("glow")
    site.install(GOOD)
    assert am.registry().modality("glow").high == 7.0


def test_an_editable_one_installed_while_python_runs_is_imported(site, tmp_path):
    assert "glow" not in am.modalities()
    site.install(GOOD, editable=tmp_path / "checkout")
    assert am.registry().modality("glow").high == 7.0
    assert not broken("glow")


def test_an_editable_one_installed_before_plugins_are_looked_for_is_imported(site, tmp_path):
    """As in a notebook whose first cell installs it, and the second one imports anymodal."""
    site.install(GOOD, editable=tmp_path / "checkout")
    assert am.registry().modality("glow").high == 7.0


def test_a_changed_one_is_checked_as_it_is_now(site):
    site.install(RAISES)
    assert broken("glow")
    old = am.registry().modality("glow")
    site.install(GOOD, version="0.2")
    assert not broken("glow") and not broken("anymodal-glow")
    new = am.registry().modality("glow")
    assert new is not old and am.registry().origin(new).version == "0.2"
    site.install(GOOD.replace("7.0", "70"), version="0.2")
    am.registry().refresh()
    assert am.registry().modality("glow").high == 70


def test_one_that_is_unchanged_stays_the_same_class(site):
    site.install(GOOD)
    first = am.registry().modality("glow")
    assert not am.registry().refresh()
    assert not broken("glow")
    assert am.registry().modality("glow") is first


def test_a_broken_one_that_was_repaired_is_used(site):
    site.install("raise RuntimeError('half of it')")
    with pytest.raises(am.PluginError, match="half of it"):
        am.registry().modality("glow")
    site.install(GOOD, version="0.1")
    am.registry().refresh()
    assert am.registry().modality("glow").high == 7.0
    assert not [problem for problem in am.registry().problems if problem.plugin == "glow"]


def test_one_that_was_removed_is_gone(site):
    site.install(GOOD)
    am.registry().modality("glow")
    for path in [*site.folder.glob("*.dist-info/*"), *site.folder.glob("*.dist-info"), *site.folder.glob("*.py")]:
        path.rmdir() if path.is_dir() else path.unlink()
    assert am.registry().refresh()
    with pytest.raises(UnknownModality):
        am.registry().modality("glow")


def test_a_folder_is_checked_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    project = '[project]\nname = "anymodal-glow"\nversion = "0.1"\ndependencies = ["anymodal"]\n'
    project += '[project.entry-points.anymodal]\nglow = "anymodal_glow:Glow"\n'
    for name, source in (("a", RAISES), ("b", GOOD)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pyproject.toml").write_text(project)
        (folder / "anymodal_glow.py").write_text(source)
    assert broken(str(tmp_path / "a")) and not broken(str(tmp_path / "b"))
    (tmp_path / "b" / "anymodal_glow.py").write_text(RAISES)
    assert broken(str(tmp_path / "b"))
    (tmp_path / "b" / "anymodal_glow.py").write_text(GOOD)
    assert not broken(str(tmp_path / "b"))
    sys.modules.pop("anymodal_glow", None)
