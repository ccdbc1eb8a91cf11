"""CONTRIBUTING.md names files and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
WORDS = re.findall(r"`([^`\n]+)`", TEXT)
PATHS = sorted({word for word in WORDS if re.fullmatch(r"(anymodal|docs|plugins|tests)/[\w./-]*", word)})


def names(path: str) -> list[Path]:
    """What a path stands for: NAME is that of any plugin."""
    if "NAME" not in path:
        return [ROOT / path]
    folders = [folder.name.removeprefix("anymodal-") for folder in ROOT.glob("plugins/anymodal-*")]
    return [ROOT / path.replace("-NAME", f"-{name}").replace("NAME", name.replace("-", "_")) for name in folders]


@pytest.mark.parametrize("path", PATHS)
def test_files_exist(path):
    assert any(each.exists() for each in names(path)), f"CONTRIBUTING.md names {path}"


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+)", " ".join(WORDS)))
    assert {"check", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"CONTRIBUTING.md names make {target}"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        assert "://" in target or (ROOT / target).exists(), f"{page} links to {target}"
