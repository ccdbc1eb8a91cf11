"""The tree of errors: everything a user can cause, one clear sentence each.

AnymodalError                    catch this one to catch them all
├── UnknownModality              a name nothing installed provides (also a LookupError)
├── PluginError                  a plugin is broken, refused, or its code failed while in use
├── SpaceError                   tokens or spaces that do not fit together
├── ValueProblem                 a value of a modality that cannot be read or understood (also a ValueError)
├── DataError                    a file or folder of data that cannot be read or written
├── CheckpointError              a checkpoint that is missing, damaged or of another kind
├── ConfigError                  a configuration with an unknown key or an impossible value
└── GenerationError              a request that the loaded model cannot answer
"""

from __future__ import annotations

import contextlib
import os
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LONGEST = 1200  # characters of a message, whatever a file put into it


class AnymodalError(Exception):
    """Base of all errors that a user can cause; the message says what, where and what to do.

    It is one line of bounded length, and what a terminal would obey in it is spelled out.
    """

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(legible(message), *more)


class UnknownModality(AnymodalError, LookupError):
    """No installed plugin provides the modality of that name."""


class PluginError(AnymodalError):
    """A plugin is broken or refused, or its code failed while it was in use."""


class SpaceError(AnymodalError):
    """Tokens outside their space, or spaces that cannot be laid out together."""


class ValueProblem(AnymodalError, ValueError):
    """A value that its modality cannot read: wrong type, shape, range, or a damaged file."""


class DataError(AnymodalError):
    """A file or folder of data that is missing, damaged or cannot be written."""


class CheckpointError(AnymodalError):
    """A checkpoint that is missing, incomplete, damaged or of another architecture."""


class ConfigError(AnymodalError):
    """A configuration with an unknown key or a value that is out of range."""


class GenerationError(AnymodalError):
    """A generation request that the loaded model cannot answer."""


def legible(message: object, most: int = LONGEST) -> str:
    """A text on one line, cut in its middle if it is longer than `most`, its control characters as escapes."""
    text = message if isinstance(message, str) else one_line(message)
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} ... {text[len(text) - most // 3 :]}"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return text


def _escaped(character: str) -> str:
    if character.isspace() or unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()


def brief(value: object, most: int = 80) -> str:
    """`repr` of a value of any size, of which no more is looked at than is shown."""
    shortener = reprlib.Repr()
    shortener.maxlevel, shortener.maxstring, shortener.maxother, shortener.maxlong = 3, most, most, 40
    try:
        return shortener.repr(value)[:most]
    except Exception:  # of a value by a careless author
        return f"a {type(value).__name__}"


def sort_of(value: Any) -> str:
    """What a value is, in words: its type, with the shape of arrays and the keys of dicts."""
    shape = getattr(value, "shape", None)
    if shape == () and str(getattr(value, "dtype", "")) == "object":  # whatever was to become an array
        value, shape = value.item(), None
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a dict with {listed(value)}" if value else "an empty dict"
    return type(value).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")


def listed(names: Iterable[object], most: int = 12) -> str:
    """Names in quotes, 'one', 'two' and 'three', the first `most` of them."""
    words = [brief(name, 40) for name, _ in zip(names, range(most + 1), strict=False)]
    if len(words) > most:
        return f"{', '.join(words[:most])} and more"
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def require(value: Any, names: Iterable[str], what: str) -> None:
    """Raise ValueProblem unless `value` is a dict with all the keys `names`; `what` says of what."""
    wanted = list(names)
    if not isinstance(value, Mapping) or any(name not in value for name in wanted):
        raise ValueProblem(f"{what} has {listed(wanted)}, got {sort_of(value)}")


def one_line(message: object, most: int | None = None) -> str:
    """What an error or a text says, without line breaks and cut off after `most` characters; bytes that are no text as
    escapes, so that every file can hold it."""
    try:
        text = str(message)
    except Exception:  # of an error by a careless author
        text = "without words"
    return " ".join(text.split()).encode(errors="backslashreplace").decode()[:most]


def cause(error: BaseException) -> str:
    """What the system says of an error of its own, such as "No space left on device"; else the error's message."""
    return one_line(getattr(error, "strerror", None) or error)


def system_message(error: OSError) -> str:
    """What an error of the system says, and of which file, such as "cannot use /data: Permission denied"."""
    named = isinstance(error.filename, (str, bytes)) and error.strerror
    return f"cannot use {os.fsdecode(error.filename)}: {cause(error)}" if named else cause(error)


@contextlib.contextmanager
def system_errors(kind: type[AnymodalError], what: str = "") -> Iterator[None]:
    """Make an error of the system in the body, such as a name that is too long, one of `kind`: "`what`: its reason".

    Without `what`, the file is named that the error is about. Decorates functions, too.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {cause(error)}" if what else system_message(error)) from error


def plural(what: str) -> str:
    """Such as families, passes and searches; what is several already stays."""
    stem = re.sub(r"(?<![aeiou])y$", "ie", re.sub(r"(ch|sh|ss|x)$", r"\1e", what))
    return f"{stem.removesuffix('s') if stem == what else stem}s"


def counted(count: int, what: str) -> str:
    """A number of things, which are `what` where there is one: "1 sample", "2 samples"."""
    return f"{count} {what if count == 1 else plural(what)}"


def nearest(name: object, known: Iterable[object]) -> str:
    """A hint such as ``; did you mean 'depth'?`` for the closest of `known`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
