"""The whole catalog of kinds: the modules of things fill it when they are imported."""

from . import furniture, nature, street, tabletop  # noqa: F401
from .kinds import BASIC, COLORS, KINDS, select

__all__ = ["BASIC", "COLORS", "KINDS", "select"]
