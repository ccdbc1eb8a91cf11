"""Benchmarks and their table: a third kind of thing to measure is one more file with one more entry."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

import benchmarks
from anymodal.config import structure
from anymodal.config.tables import Table
from anymodal.errors import ConfigError, nearest

Case = Mapping[str, Any]  # what tells a row from the others of its benchmark, such as {"size": "s", "batch": 1}


@attrs.frozen
class Sample:
    """What one run took, measured by itself: seconds, seconds of processor time, and megabytes at its peak."""

    wall: float
    cpu: float
    peak_mb: float | None = None


@attrs.frozen
class Part:
    """A piece of the floor, which is done `count` times.

    run: does it once.
    flops: floating point operations of it.
    bytes: what it reads of memory at least.
    """

    label: str
    count: float
    run: Callable[[], Any]
    flops: float = 0.0
    bytes: float = 0.0


@attrs.frozen
class Work:
    """The work of a case, ready to run.

    run: does it once; it may return a `Sample` where it measures itself.
    floor: counts what any implementation has to do; no parts where nobody did.
    twin: the same in the plain way.
    items: how many of `unit` one run does.
    """

    run: Callable[[], Any]
    floor: Callable[[], Sequence[Part]] = tuple
    twin: Callable[[], Any] | None = None
    items: float = 1
    unit: str = "run"


class Timed(ABC):
    """What takes time, and could take as little as its floor."""

    target: ClassVar[str] = ""  # the aim of the project, in words

    @abstractmethod
    def cases(self, quick: bool) -> list[Case]:
        """The rows; with `quick` a few small ones."""

    @abstractmethod
    def prepare(self, case: Case) -> Work:
        """Everything before the clock runs."""


class Figures(ABC):
    """What is measured once and is no time, such as the quality of a model."""

    @abstractmethod
    def run(self, quick: bool) -> Mapping[str, Any]:
        """Numbers by name, nested at will."""

    def table(self, found: Mapping[str, Any]) -> str:
        """Those numbers in Markdown; "" where nobody said how."""
        return ""


BENCHMARKS: Table[type[Timed] | type[Figures]] = Table("benchmark", {})


def names() -> list[str]:
    """The names of all benchmarks: those of the files, and of what others added."""
    files = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg]
    return list(dict.fromkeys([*(name for name in files if not name.startswith("_")), *BENCHMARKS]))


def load(name: str, settings: Mapping[str, Any] | None = None) -> Timed | Figures:
    """The benchmark of a name, whose file alone is imported.

    Raises ConfigError where there is none, or for settings that it does not have.
    """
    if name not in BENCHMARKS:
        if name not in names():
            raise ConfigError(
                f"there is no benchmark {name!r:.80}{nearest(name, names())}; known: {', '.join(names())}"
            )
        importlib.import_module(f"benchmarks.{name}")
    return structure(dict(settings or {}), BENCHMARKS.choose(name), f"the settings of {name}")


def title(name: str, case: Case) -> str:
    """A row in words."""
    return " ".join([name, *(f"{key}={value}" for key, value in case.items())])
