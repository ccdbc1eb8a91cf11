"""The whole catalogue of kinds: the modules of things fill it when they are imported."""

from . import furniture, nature, street, tabletop  # noqa: F401
from .kinds import BASIC, COLOURS, KINDS, select

__all__ = ["BASIC", "COLOURS", "KINDS", "select"]
