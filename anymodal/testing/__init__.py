"""Conformance of plugins: rules as data, one runner, and the three lines that a plugin author writes::

    from anymodal.testing import conformance

    test_conformance = conformance("thermal")

`anymodal plugin check` runs the same rules. The public names are resolved when first used; pytest loads the fixtures of
`anymodal.testing.pytest_plugin` by itself, and the hypothesis strategies are in `anymodal.testing.strategies`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymodal.testing.conformance import conformance as conformance
    from anymodal.testing.examples import Example as Example
    from anymodal.testing.examples import examples as examples
    from anymodal.testing.rule import RULES as RULES
    from anymodal.testing.rule import Broken as Broken
    from anymodal.testing.rule import Rule as Rule
    from anymodal.testing.rule import expect as expect
    from anymodal.testing.rule import rule as rule
    from anymodal.testing.run import Result as Result
    from anymodal.testing.run import check as check
    from anymodal.testing.small import tiny_model as tiny_model

_HOMES = {
    "Broken": "rule",
    "Example": "examples",
    "RULES": "rules",
    "Result": "run",
    "Rule": "rule",
    "check": "run",
    "conformance": "conformance",
    "examples": "examples",
    "expect": "rule",
    "rule": "rule",
    "tiny_model": "small",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anymodal.testing' has no attribute {name!r}")
    value = getattr(import_module(f"anymodal.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
