"""What is imported when it is first used: a module that names numpy and torch here costs nothing to import.

Write ``if TYPE_CHECKING: import numpy as np`` with ``else: from anymodal.lazy import np``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, found)  # so that it is looked up here only once
        return found


np: Any = _Lazy("numpy")
torch: Any = _Lazy("torch")


def public_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names live in the modules that `homes` says."""
    own = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        own[name] = value
        return value

    return find, lambda: sorted({*own, *homes})
