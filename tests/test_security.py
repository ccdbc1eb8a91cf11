"""The page on security, and the list of findings, name tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`((?:\w+/)?test_\w+\.py)::([\w:]+)`")
PAGE = (ROOT / "docs/explanation/security.md").read_text()
FINDINGS = (ROOT / "findings/README.md").read_text()


def names_in(path: Path) -> set[str]:
    """The names of the tests of a file, as NAME or CLASS::NAME."""
    tree = ast.parse(path.read_text())
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_every_boundary_is_held_by_a_test_that_there_is():
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| boundary", "| ---"))
    ]
    assert len(rows) > 20
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for file, name in named:
            assert name in names_in(ROOT / "tests" / file), f"there is no {file}::{name}"


def test_the_policy_points_to_the_page():
    assert "/explanation/security/" in (ROOT / "SECURITY.md").read_text()
