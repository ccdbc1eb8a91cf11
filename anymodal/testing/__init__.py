"""Conformance of plugins: rules as data, a runner, and the three lines that a plugin author writes.

from anymodal.testing import conformance

test_conformance = conformance("thermal")
"""

from anymodal.testing.conformance import conformance
from anymodal.testing.examples import Example, examples
from anymodal.testing.rule import Broken, Rule, expect, rule
from anymodal.testing.run import Result, check

__all__ = ["Broken", "Example", "Result", "Rule", "check", "conformance", "examples", "expect", "rule"]
