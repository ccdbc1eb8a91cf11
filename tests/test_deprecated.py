"""Old names warn at the line that uses them, and go when their time has come."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

import anymodal
from anymodal.deprecated import (
    AnymodalDeprecationWarning,
    deprecated,
    removal,
    renamed_argument,
    renamed_names,
    warn_deprecated,
)

ROOT = Path(anymodal.__file__).parent.parent
HELPERS = {function.__name__ for function in (deprecated, renamed_argument, renamed_names, warn_deprecated)}


def uses(source: str) -> list[tuple[int, str | None]]:
    """The line of every call of the helpers, and its `since` where that is a literal."""
    found: list[tuple[int, str | None]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in HELPERS:
            since = next((word.value for word in node.keywords if word.arg == "since"), None)
            literal = isinstance(since, ast.Constant) and isinstance(since.value, str)
            found.append((node.lineno, since.value if literal else None))
    return found


def overdue(source: str, version: str) -> list[int]:
    """The lines of old names that `version` should not have any more, or that do not say since when they are old."""
    reached = Version(version).release[:2]
    return [line for line, since in uses(source) if since is None or reached >= Version(removal(since)).release]


SOURCE = """
from anymodal.deprecated import deprecated, renamed_names
from anymodal import deprecated as old

@deprecated("new", since="0.3")
def function(): ...

__getattr__ = renamed_names(__name__, {"a": "b"}, since="0.4")

@old.renamed_argument("a", "b", since="1.0")
def other(b): ...
"""


@pytest.mark.parametrize(
    ("version", "lines"),
    [("0.1.0", []), ("0.4.9", []), ("0.5.0.dev1", [5]), ("0.6.0", [5, 8]), ("1.0", [5, 8]), ("1.2", [5, 8, 10])],
)
def test_the_time_of_an_old_name_is_found_in_the_source(version, lines):
    assert overdue(SOURCE, version) == lines


def test_a_version_that_is_no_literal_is_refused():
    assert overdue(SOURCE.replace('"0.3"', "VERSION"), "0.1.0") == [5]


def test_nothing_has_outlived_its_time():
    own = ROOT / "anymodal" / "deprecated.py"
    files = [*ROOT.glob("anymodal/**/*.py"), *ROOT.glob("plugins/*/**/*.py")]
    places = [(path, overdue(path.read_text(), anymodal.__version__)) for path in sorted(files) if path != own]
    late = [f"{path.relative_to(ROOT)}:{line}" for path, lines in places for line in lines]
    assert not late, f"remove these old names, or say in a literal since when they are old: {', '.join(late)}"


def line() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame and frame.f_back
    return frame.f_back.f_lineno


@deprecated("read_all()", since="0.3")
def read(path: str, *, most: int = 1) -> tuple[str, int]:
    """What it does."""
    return path, most


@renamed_argument("colour", "color", since="0.7")
def paint(color: str, size: int = 1) -> tuple[str, int]:
    return color, size


def test_a_function_with_an_old_name_works_and_warns_at_the_line_that_calls_it():
    with pytest.warns(AnymodalDeprecationWarning) as caught:
        assert read("a", most=2) == ("a", 2)
        called = line() - 1
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, called)
    assert str(warning.message) == (
        "read() is deprecated since anymodal 0.3 and will be removed in 0.5; use read_all()"
    )
    assert (read.__name__, read.__doc__) == ("read", "What it does.")
    assert issubclass(AnymodalDeprecationWarning, DeprecationWarning)


def test_an_argument_with_an_old_name_is_passed_on_and_warns_at_the_line_that_gives_it():
    assert paint("red") == paint(color="red") == ("red", 1)
    words = r"'colour' of paint\(\).*removed in 0\.9; use 'color'"
    with pytest.warns(AnymodalDeprecationWarning, match=words) as caught:
        assert paint(colour="red", size=3) == ("red", 3)
        called = line() - 1
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, called)]
    with pytest.raises(TypeError, match=r"paint\(\) got 'color' twice"):
        paint(colour="red", color="red")


def test_a_module_gives_old_names_with_a_warning(monkeypatch):
    module = ModuleType("painting")
    monkeypatch.setitem(sys.modules, "painting", module)
    module.Brush = object()
    module.__getattr__ = renamed_names("painting", {"Pen": "Brush"}, since="0.9")
    with pytest.warns(AnymodalDeprecationWarning, match=r"^painting\.Pen .* in 0\.11; use painting\.Brush$") as caught:
        assert module.Pen is module.Brush
        called = line() - 1
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, called)]
    with pytest.raises(AttributeError, match="module 'painting' has no attribute 'Pencil'"):
        _ = module.Pencil
    module.__getattr__ = renamed_names("painting", {"Pen": "Brush"}, since="0.9", otherwise=str.upper)
    assert module.Pencil == "PENCIL"


@pytest.mark.parametrize("since", ["0.3.1", "3", "next"])
def test_a_version_is_a_major_and_a_minor_one(since):
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        deprecated("new", since=since)
