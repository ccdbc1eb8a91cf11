"""Old names: what was renamed goes on working for two minor versions, and warns.

The policy, for everything public (what `anymodal` and its public modules export, arguments, options of commands, keys
of configurations):

- A name that is new in version 0.3 leaves the old one working through 0.3 and 0.4. Each use warns with an
  `AnymodalDeprecationWarning` that names the new one and the version the old one goes in, 0.5.
- In 0.5 the old name is removed. A new major version removes all that are left.
- The changelog lists the old name under "Deprecated", and two versions later under "Removed".
- Files outlive names: checkpoints and datasets of earlier versions are read as long as they can be.

Nothing lingers: `since` is a literal, so that tests/test_deprecated.py finds every use of this module in the source and
fails on those whose time has come.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

MINORS = 2

P = ParamSpec("P")
T = TypeVar("T")


class AnymodalDeprecationWarning(DeprecationWarning):
    """A name of anymodal is old: the message says the new one, and in which version the old one goes."""


def removal(since: str) -> str:
    """The version in which a name goes that is old since version `since`: "0.5" for "0.3"."""
    major, minor = map(int, since.split("."))
    return f"{major}.{minor + MINORS}"


def warn_deprecated(old: str, new: str, *, since: str, stacklevel: int = 1) -> None:
    """Warn that `old` is now `new`, at the line that called the caller of this function, or further up the stack."""
    message = f"{old} is deprecated since anymodal {since} and will be removed in {removal(since)}; use {new}"
    warnings.warn(message, AnymodalDeprecationWarning, stacklevel=stacklevel + 2)


def deprecated(new: str, *, since: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function or method that goes on working under its old name, while `new` is what to call."""
    removal(since)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def old(*args: P.args, **kwargs: P.kwargs) -> T:
            warn_deprecated(f"{function.__qualname__}()", new, since=since)
            return function(*args, **kwargs)

        return old

    return decorate


def renamed_argument(old: str, new: str, *, since: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function whose argument `old` is now `new`: given by its old name, it is passed on by the new one."""
    removal(since)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> T:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__qualname__}() got {new!r} twice: {old!r} is its old name")
                warn_deprecated(f"the argument {old!r} of {function.__qualname__}()", repr(new), since=since)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return accepting

    return decorate


def renamed_names(
    module: str, names: Mapping[str, str], *, since: str, otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """The `__getattr__` of a module in which each old name of `names` is now the new one beside it.

    `otherwise` is the `__getattr__` that the module has already.
    """
    removal(since)

    def find(name: str) -> Any:
        if name in names:
            warn_deprecated(f"{module}.{name}", f"{module}.{names[name]}", since=since)
            return getattr(sys.modules[module], names[name])
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find
