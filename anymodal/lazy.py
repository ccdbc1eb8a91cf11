"""What is imported when it is first used: a module that names numpy and torch here costs nothing to import.

Write ``if TYPE_CHECKING: import numpy as np`` with ``else: from anymodal.lazy import np``.
"""

from __future__ import annotations

import importlib
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
