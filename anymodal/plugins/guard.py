"""Whose fault it is: foreign errors of a plugin become one error that names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from anymodal.errors import AnymodalError, PluginError, one_line
from anymodal.modality import Modality
from anymodal.plugins.registry import registry


@contextlib.contextmanager
def blame(modality: Modality | type[Modality], stage: str, value: object = None) -> Iterator[None]:
    """Make a PluginError of any foreign exception in the body, naming the modality, its plugin, `stage` and `value`.

    `stage` is a verb of the modality, such as ``preprocess``. Errors of this package pass through.
    """
    try:
        yield
    except AnymodalError:
        raise
    except (Exception, SystemExit) as error:
        cls = modality if isinstance(modality, type) else type(modality)
        where = provenance(cls)
        given = "" if value is None else f" of {describe(value)}"
        problem = f"{type(error).__name__}: {one_line(error, 300)}"
        raise PluginError(f"modality {cls.name!r} ({where}) failed in {stage}{given}: {problem}") from error


def provenance(cls: type[Modality]) -> str:
    """Distribution and version that a class came from, or its full name."""
    origin = registry().origin(cls)
    return f"{origin.distribution} {origin.version}" if origin else f"{cls.__module__}.{cls.__qualname__}"


def describe(value: object) -> str:
    """The type of a value and, where it has them, its shape and dtype."""
    words = [type(value).__name__]
    if isinstance(value, (str, bytes, list, tuple, dict)):
        words.append(f"of length {len(value)}")
    if (shape := getattr(value, "shape", getattr(value, "size", None))) is not None:
        words.append(f"of shape {tuple(shape) if isinstance(shape, Iterable) else shape}")
    if (dtype := getattr(value, "dtype", None)) is not None:
        words.append(f"and dtype {dtype}")
    return " ".join(words)
