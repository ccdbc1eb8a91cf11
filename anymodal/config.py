"""Configurations: attrs classes are the schema, YAML files and dotted overrides fill them, nothing is ignored."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
import yaml

from anymodal.errors import AnymodalError, ConfigError, ValueProblem, nearest
from anymodal.files import read_text

T = TypeVar("T")


def load_config(path: Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """A configuration from a YAML file; `overrides` are "a.b=value" with YAML values. Raises ConfigError."""
    try:
        raw = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValueProblem as error:
        raise ConfigError(str(error)) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values at the top level")
    for override in overrides:
        override_value(raw, override)
    return structure(raw, schema, str(path))


def override_value(raw: dict[str, Any], override: str) -> None:
    """Set "a.b=value" in nested dictionaries, in place."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{override!r} is not of the form key.part=value")
    *parents, last = dotted.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"{override!r} goes through {parent!r}, which holds a plain value")
    try:
        raw[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {override!r} is not YAML") from None


def structure(raw: Any, schema: type[T], source: str) -> T:
    """Build an attrs class from plain data. Raises ConfigError: an unknown key names the nearest known one."""
    _check_keys(raw, schema, source, "")
    try:
        return _CONVERTER.structure(raw, schema)
    except AnymodalError:
        raise
    except Exception as error:
        raise ConfigError(f"{source}: {'; '.join(_reasons(error))}") from None


def _check_keys(raw: Any, schema: Any, source: str, place: str) -> None:
    schema = _attrs_class(schema)
    if isinstance(raw, Mapping) and schema is None:
        return
    if schema is None or not isinstance(raw, Mapping):
        return
    hints = typing.get_type_hints(schema)
    names = {a.name: hints[a.name] for a in attrs.fields(schema) if a.init}
    for key, value in raw.items():
        where = f"{place}.{key}".lstrip(".")
        if key not in names:
            raise ConfigError(f"{source}: unknown key {where!r}{nearest(str(key), names)}; known: {', '.join(names)}")
        inner = get_args(names[key])
        if isinstance(value, Mapping) and get_origin(names[key]) in (
            dict,
            Mapping,
            typing.get_origin(Mapping[str, int]),
        ):
            for part, content in value.items():
                _check_keys(content, inner[-1], source, f"{where}.{part}")
        elif isinstance(value, list) and inner:
            for k, content in enumerate(value):
                _check_keys(content, inner[0], source, f"{where}[{k}]")
        else:
            _check_keys(value, names[key], source, where)


def _attrs_class(schema: Any) -> Any:
    """The one attrs class in an annotation (also in `X | None`), else None."""
    options = (
        get_args(schema) if isinstance(schema, types.UnionType) or get_origin(schema) is typing.Union else (schema,)
    )
    found = [o for o in options if isinstance(o, type) and attrs.has(o)]
    return found[0] if len(found) == 1 else None


def _reasons(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [reason for inner in error.exceptions for reason in _reasons(inner)]
    if isinstance(error, AnymodalError):
        return [str(error)]
    notes = [n for n in getattr(error, "__notes__", []) if "attribute" in n]
    place = notes[0].split("attribute ")[-1] if notes else ""
    return [f"{str(error).strip()}{f' ({place})' if place else ''}"]


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=False)

    def number(value: Any, kind: type) -> Any:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if not fits or (kind is int and not isinstance(value, int)):
            raise ConfigError(f"expected a {'whole number' if kind is int else 'number'}, got {value!r}")
        return kind(value)

    def exactly(value: Any, kind: type) -> Any:
        if not isinstance(value, kind):
            raise ConfigError(f"expected {'text' if kind is str else 'true or false'}, got {value!r}")
        return value

    converter.register_structure_hook(int, number)
    converter.register_structure_hook(float, number)
    converter.register_structure_hook(str, exactly)
    converter.register_structure_hook(bool, exactly)
    converter.register_structure_hook(Path, lambda value, _: Path(exactly(value, str)))
    return converter


_CONVERTER = _make_converter()
