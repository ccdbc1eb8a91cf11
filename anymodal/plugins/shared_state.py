"""What everybody in a process shares: how each part of it is read, and set back."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs


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


def _restore_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _restore_signal(number: int) -> Callable[[Any], object]:
    """Signals can be set by the first thread alone; in others they cannot have been changed either."""

    def restore(handler: Any) -> None:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(number, handler)

    return restore


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


ENVIRONMENT = "the environment variables"

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
    "the threads of torch": (
        _if_loaded("torch", lambda torch: torch.get_num_threads()),
        lambda count: sys.modules["torch"].set_num_threads(count),
    ),
    "the default device of torch": (
        _if_loaded("torch", lambda torch: str(torch.get_default_device()), "cpu"),
        lambda device: sys.modules["torch"].set_default_device(None if device == "cpu" else device),
    ),
    "the deterministic algorithms of torch": (
        _if_loaded("torch", lambda torch: torch.are_deterministic_algorithms_enabled(), False),
        lambda enabled: sys.modules["torch"].use_deterministic_algorithms(enabled),
    ),
    "the autocast of torch": (
        _if_loaded("torch", lambda torch: torch.is_autocast_enabled("cpu"), False),
        lambda enabled: sys.modules["torch"].set_autocast_enabled("cpu", enabled),
    ),
    "the precision of matrix products of torch": (
        _if_loaded("torch", lambda torch: torch.get_float32_matmul_precision(), "highest"),
        lambda precision: sys.modules["torch"].set_float32_matmul_precision(precision),
    ),
    ENVIRONMENT: (lambda: dict(os.environ), _restore_environment),
    "the mask of new files (umask)": (_umask, os.umask),
    "what SIGINT does": (lambda: signal.getsignal(signal.SIGINT), _restore_signal(signal.SIGINT)),
    "what SIGTERM does": (lambda: signal.getsignal(signal.SIGTERM), _restore_signal(signal.SIGTERM)),
    "sys.stderr": (lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream)),
    "the collector of garbage": (gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
    "the timeout of sockets": (
        _if_loaded("socket", lambda socket: (socket.getdefaulttimeout(),), (None,)),
        lambda timeout: sys.modules["socket"].setdefaulttimeout(*timeout),
    ),
    "the level below which logging is switched off": (lambda: logging.root.manager.disable, logging.disable),
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
