"""What loading a plugin must not do to the process: print to stdout, or change what everybody shares.

Output is captured and changes are undone; both are reported, so that a plugin never breaks `--json` or a seed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs


@contextlib.contextmanager
def watched(report: Callable[[str, str], object]) -> Iterator[None]:
    """Capture what the body prints, undo what it changes for the process, and `report` each as (message, hint)."""
    before = {what: read() for what, (read, _) in SHARED.items()}
    noise = _Noise()
    try:
        with contextlib.redirect_stdout(noise):
            yield
    finally:
        changed = [what for what, (read, _) in SHARED.items() if before[what] is not None and read() != before[what]]
        for what in changed:
            SHARED[what][1](before[what])
        for what in changed:
            report(f"changes {what} while it is loaded (undone)", "change nothing global at import")
        if text := noise.getvalue().strip():
            report(f"prints to stdout while it is loaded: {text.splitlines()[0][:80]!r}", "use the module logging")


class _Noise(io.StringIO):
    """What is printed; it stays readable when the printer closes it."""

    def close(self) -> None:
        pass


def _if_loaded(module: str, read: Callable[[Any], Any], otherwise: Any = None) -> Callable[[], Any]:
    """A reader for a module that is not imported for the sake of it."""

    def reader() -> Any:
        try:
            return read(sys.modules[module])
        except (KeyError, AttributeError):
            return otherwise

    return reader


def _folder() -> str | None:
    """The working directory; None when it was deleted meanwhile."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _numpy_state(numpy_random: Any) -> tuple[Any, ...]:
    kind, keys, *rest = numpy_random.get_state()
    return kind, keys.tolist(), *rest


def _restore_torch_state(state: bytes) -> None:
    torch = sys.modules["torch"]
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


@attrs.frozen
class _Filters:
    """The filters of warnings; two states differ when a blanket one does.

    A filter that is limited to a message, a module or a category of its own harms nobody.
    """

    blanket: list[Any]
    everything: list[Any] = attrs.field(eq=False)

    @classmethod
    def read(cls) -> _Filters:
        everything = list(warnings.filters)
        blanket = [f for f in everything if f[1] is None and f[3] is None and f[2].__module__ == "builtins"]
        return cls(blanket, everything)

    def restore(self) -> None:
        now = self.read()
        harmless = [f for f in now.everything if f not in self.everything and f not in now.blanket]
        warnings.filters[:] = harmless + self.everything  # type: ignore[index]
        with warnings.catch_warnings():
            pass  # entering it makes the warnings module notice


# How each is read (None: nothing there yet) and restored.
SHARED: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the limit of recursion": (sys.getrecursionlimit, sys.setrecursionlimit),
    "the working directory": (_folder, os.chdir),
    "the random state of Python": (random.getstate, random.setstate),
    "the random state of numpy": (
        _if_loaded("numpy.random", _numpy_state),
        lambda state: sys.modules["numpy.random"].set_state(state),
    ),
    "the random state of torch": (
        _if_loaded("torch", lambda torch: bytes(torch.get_rng_state().tolist())),
        _restore_torch_state,
    ),
    "the default dtype of torch": (
        _if_loaded("torch", lambda torch: str(torch.get_default_dtype()).removeprefix("torch."), "float32"),
        lambda dtype: sys.modules["torch"].set_default_dtype(getattr(sys.modules["torch"], dtype)),
    ),
    "the gradients of torch": (
        _if_loaded("torch", lambda torch: torch.is_grad_enabled(), True),
        lambda enabled: sys.modules["torch"].set_grad_enabled(enabled),
    ),
    "the errors of numpy": (
        _if_loaded("numpy", lambda numpy: numpy.geterr()),
        lambda settings: sys.modules["numpy"].seterr(**settings),
    ),
    "the filters of warnings": (_Filters.read, _Filters.restore),
    "the level of the root logger": (
        lambda: logging.getLogger().level,
        lambda level: logging.getLogger().setLevel(level),
    ),
    "the handlers of the root logger": (
        lambda: list(logging.getLogger().handlers),
        lambda handlers: logging.getLogger().handlers.__setitem__(slice(None), handlers),
    ),
}
