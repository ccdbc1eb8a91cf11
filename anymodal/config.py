"""Configurations: attrs classes are the schema, YAML files and dotted overrides fill them, nothing is ignored.

A file may be built on another one, `base: model.yaml` (a path relative to it): keys of nested parts are merged, all
else, lists too, is replaced.
"""

from __future__ import annotations

import collections.abc
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

BASE = "base"


def load_config(path: Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """A configuration from a YAML file; `overrides` are "a.b=value" with YAML values. Raises ConfigError."""
    raw = read_config(path)
    for override in overrides:
        override_value(raw, override)
    return structure(raw, schema, str(path))


def dump_config(config: Any) -> str:
    """A configuration as YAML with every default filled in; `load_config` makes an equal one of it."""
    return yaml.safe_dump(plain_config(config), sort_keys=False, allow_unicode=True, width=120)


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as plain data with every default filled in."""
    plain: dict[str, Any] = _plain(attrs.asdict(config))
    return plain


def _plain(value: Any) -> Any:
    """As YAML has it: paths are text, tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def read_config(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a YAML file says together with the files it is built on; `above` are those that are built on it."""
    place = path.resolve()
    if place in above:
        raise ConfigError(f"{above[-1]} is built on {path}, which is built on it; leave out one {BASE!r}")
    try:
        raw = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply") from None
    except ValueProblem as error:
        raise ConfigError(f"{error}, the {BASE!r} of {above[-1]}" if above else str(error)) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values at the top level")
    base = raw.pop(BASE, None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise ConfigError(f"{path}: {BASE!r} must be the path of another file, got {base!r}")
    return _merged(read_config(path.parent / base, (*above, place)), raw)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def override_value(raw: dict[str, Any], override: str) -> None:
    """Set "a.b=value" in nested dictionaries and lists, in place; parts of lists are numbered from 0."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{override!r} is not of the form key.part=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {override!r} is not YAML") from None
    *parents, last = dotted.split(".")
    inside: Any = raw
    for k, parent in enumerate(parents):
        key = _key(inside, parent, override)
        if isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
        inside = inside[key]
        if not isinstance(inside, (dict, list)):
            held = ".".join(parents[: k + 1])
            raise ConfigError(f"{override!r} goes through {held!r}, which holds the plain value {inside!r}")
    inside[_key(inside, last, override)] = value


def _key(inside: dict[str, Any] | list[Any], part: str, override: str) -> Any:
    """The key of a dictionary, or the index of a list, that a part of an override names."""
    if isinstance(inside, dict):
        return part
    if part.isdecimal() and int(part) < len(inside):
        return int(part)
    known = f"0 to {len(inside) - 1}" if inside else "none, it is empty"
    raise ConfigError(f"{override!r} names the part {part!r} of a list; known: {known}")


def structure(raw: Any, schema: type[T], source: str) -> T:
    """Build an attrs class from plain data. Raises ConfigError: an unknown key names the nearest known one."""
    whole = _spelled_out(raw, schema, source, "")
    try:
        return _CONVERTER.structure(whole, schema)
    except AnymodalError:
        raise
    except Exception as error:
        raise ConfigError(f"{source}: {'; '.join(_reasons(error))}") from None


def _spelled_out(raw: Any, schema: Any, source: str, place: str) -> Any:
    """The raw value with nothing left implied; raises ConfigError for unknown keys.

    A plain value stands for a class with a field marked as "short" in its metadata, and one class for a tuple of it.
    """
    origin, inner = get_origin(schema), get_args(schema)
    if origin in (list, tuple) and (item := _attrs_class(inner[0])) is not None:
        several = raw if isinstance(raw, list) else [raw]
        return [_spelled_out(each, item, source, f"{place}[{k}]") for k, each in enumerate(several)]
    if origin in (dict, collections.abc.Mapping) and isinstance(raw, Mapping):
        return {key: _spelled_out(each, inner[-1], source, f"{place}.{key}") for key, each in raw.items()}
    schema = _attrs_class(schema)
    if schema is None or raw is None:
        return raw
    if not isinstance(raw, Mapping):
        return {short: raw} if (short := _short(schema)) and not isinstance(raw, list) else raw
    hints = typing.get_type_hints(schema)
    names = {a.name: hints[a.name] for a in attrs.fields(schema) if a.init}
    whole = {}
    for key, value in raw.items():
        where = f"{place}.{key}".lstrip(".")
        if key not in names:
            raise ConfigError(f"{source}: unknown key {where!r}{nearest(str(key), names)}; known: {', '.join(names)}")
        whole[key] = _spelled_out(value, names[key], source, where)
    return whole


def _short(schema: Any) -> str:
    """The name of the field for which a plain value stands, if there is one."""
    return next((a.name for a in attrs.fields(schema) if a.metadata.get("short")), "")


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
