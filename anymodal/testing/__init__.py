"""Conformance of plugins: rules as data, one runner, and the three lines that a plugin author writes::

    from anymodal.testing import conformance

    test_conformance = conformance("thermal")

`anymodal plugin check` runs the same rules. The public names are resolved when first used; pytest loads the fixtures of
`anymodal.testing.pytest_plugin` by itself, and the hypothesis strategies are in `anymodal.testing.strategies`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymodal.lazy import public_names

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

__getattr__, __dir__ = public_names(__name__, _HOMES)
