"""Arguments of public functions: one of another kind is refused at once, by its name, and not where it is first used.

@takes(data=PLACE, inputs=NAMES, count=WHOLE, progress=FUNCTION)
def measure(data, *, inputs=None, count=None, progress=None): ...
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import attrs

from anymodal.errors import ConfigError, brief, sort_of

P = ParamSpec("P")
R = TypeVar("R")
PLAIN = (str, int, float, type(None))  # what is shown as it is


@attrs.frozen
class Kind:
    """What an argument is, in words, and whether a value is such a one. The default of an argument always is.

    `made` gives the value that the function gets, such as the int of a whole float.
    """

    words: str
    fits: Callable[[Any], bool]
    made: Callable[[Any], Any] = lambda value: value


def _are_names(value: Any) -> bool:
    one = isinstance(value, (str, Mapping)) or not isinstance(value, Collection)
    return not one and all(isinstance(name, str) for name in value)


def _is_whole(value: Any) -> bool:
    """Whole floats too, and the integers of numpy."""
    whole = value.is_integer() if isinstance(value, float) else hasattr(value, "__index__")
    return whole and not isinstance(value, bool)


def _are_several(value: Any) -> bool:
    """Lists, and what is gone through or indexed like one, such as a dataset; a generator is gone after one look."""
    several = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    return several and not isinstance(value, (str, bytes, os.PathLike, Mapping, Iterator))


def _are_dicts(value: Any) -> bool:
    known = value if isinstance(value, (list, tuple)) else ()
    return _are_several(value) and all(isinstance(each, Mapping) for each in known)


TEXT = Kind("text", lambda value: isinstance(value, str))
PLACE = Kind("a path", lambda value: isinstance(value, (str, os.PathLike)))
WHOLE = Kind("a whole number", _is_whole, int)
COUNT = Kind("a whole number of at least 1", lambda value: _is_whole(value) and value >= 1, int)
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
FUNCTION = Kind("a function", callable)
NAMES = Kind("a list of names", _are_names)
DICT = Kind("a dict by name", lambda value: isinstance(value, Mapping))
DICTS = Kind("a list of dicts by name", _are_dicts)
LIST = Kind("a list", _are_several)


def optional(kind: Kind) -> Kind:
    """None too, where that is no default."""
    return Kind(
        kind.words,
        lambda value: value is None or kind.fits(value),
        lambda value: None if value is None else kind.made(value),
    )


def read_by_load(kind: type) -> Kind:
    """A configuration of that class."""
    return instance(f"a {kind.__name__}, as anymodal.config.load_config(path, {kind.__name__}) reads one", kind)


def instance(words: str, *types: type) -> Kind:
    """An object of one of the types."""
    return Kind(words, lambda value: isinstance(value, types))


def takes(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function raise ConfigError for arguments of other kinds; it gets the others as `Kind.made` has them."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        defaults = {name: parameters[name].default for name in kinds}
        order = list(parameters)

        def made(name: str, value: Any) -> Any:
            kind = kinds.get(name)
            if kind is None or value is defaults[name]:
                return value
            if not kind.fits(value):
                got = brief(value) if isinstance(value, PLAIN) else sort_of(value)
                raise ConfigError(f"{name} is {kind.words}, got {got}")
            return kind.made(value)

        @functools.wraps(function)
        def checked(*arguments: P.args, **named: P.kwargs) -> R:
            first = [made(name, value) for name, value in zip(order, arguments, strict=False)]
            rest = {name: made(name, value) for name, value in named.items()}
            return function(*first, *arguments[len(first) :], **rest)  # type: ignore[arg-type]

        return checked

    return decorate
