"""Plain data as attrs classes: every mistake is a ConfigError that names its place, and the nearest known key."""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs

from anymodal.config.tables import SettingsTable, table_of
from anymodal.errors import AnymodalError, ConfigError, brief, nearest

T = TypeVar("T")


def structure(raw: Any, schema: type[T], source: str) -> T:
    """Build an attrs class from plain data. Raises ConfigError that names the place, and the nearest known key."""
    whole = _spelled_out(raw, schema, source, "")
    try:
        return _CONVERTER.structure(whole, schema)
    except AnymodalError:
        raise
    except Exception as error:
        raise ConfigError(f"{source}: {'; '.join(_reasons(error))}") from None


def _spelled_out(raw: Any, schema: Any, source: str, place: str) -> Any:
    """The raw value with nothing left implied; raises ConfigError for what has another form than the schema.

    A plain value stands for a class with a field marked as "short" in its metadata, and one class for a tuple of it.
    """

    def refuse(wanted: str) -> ConfigError:
        return ConfigError(f"{source}: {place or 'it'} {_Unfit(wanted, raw)}")

    if raw is None and _may_be_none(schema):
        return None
    schema = _without_none(schema)
    origin, inner = get_origin(schema), get_args(schema)
    if origin in (dict, collections.abc.Mapping):
        raw = {} if raw is None else raw  # a key with nothing behind it
        if not isinstance(raw, Mapping):
            raise refuse("keys and values")
        return {key: _spelled_out(each, inner[-1], source, f"{place}.{key}") for key, each in raw.items()}
    if origin in (list, tuple):
        several = raw
        if not isinstance(raw, (list, tuple)):
            if raw is None or _attrs_class(inner[0]) is None:
                raise refuse("a list")
            several = [raw]
        kinds = inner if origin is tuple and inner[-1] is not ... else inner[:1] * len(several)
        if len(kinds) != len(several):
            raise refuse(f"a list of {len(kinds)}")
        pairs = zip(several, kinds, strict=True)
        return [_spelled_out(each, kind, source, f"{place}[{k}]") for k, (each, kind) in enumerate(pairs)]
    schema = _attrs_class(schema)
    if schema is None:
        return raw
    if (table := table_of(schema)) is not None:
        return _chosen(raw, table, source, place)
    raw = {} if raw is None else raw
    if not isinstance(raw, Mapping):
        if isinstance(raw, list) or not (short := _short(schema)):
            raise refuse("keys and values")
        return {short: raw}
    hints = typing.get_type_hints(schema)
    fields = [a for a in attrs.fields(schema) if a.init]
    names = {a.name: hints[a.name] for a in fields}
    whole = {}
    for key, value in raw.items():
        where = f"{place}.{key}".lstrip(".")
        if key not in names:
            raise ConfigError(f"{source}: unknown key {where!r}{nearest(str(key), names)}; known: {', '.join(names)}")
        whole[key] = _spelled_out(value, names[key], source, where)
    if missing := [a.name for a in fields if a.default is attrs.NOTHING and a.name not in raw]:
        where = ", ".join(f"{place}.{name}".lstrip(".") for name in missing)
        raise ConfigError(f"{source}: {where} must be given")
    return whole


def _chosen(raw: Any, table: SettingsTable[Any], source: str, place: str) -> dict[str, Any]:
    """A block that names one of the classes of a table, spelled out as that class has it."""
    raw = {} if raw is None else raw
    try:
        name = table.name_of(raw)
        schema = table[name]
    except ConfigError as error:
        raise ConfigError(f"{source}: {place or 'it'}: {error}") from None
    fields = {key: value for key, value in raw.items() if key != table.tag} if isinstance(raw, Mapping) else {}
    return {table.tag: name, **_spelled_out(fields, schema, source, place)}


class _Unfit(ValueError):
    """A value of another kind than its place wants."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(f"must be {wanted}, got {brief(value, 200)}")


def _options(schema: Any) -> tuple[Any, ...]:
    """The kinds of an annotation such as `X | Y`."""
    is_union = isinstance(schema, types.UnionType) or get_origin(schema) is typing.Union
    return get_args(schema) if is_union else (schema,)


def _may_be_none(schema: Any) -> bool:
    return schema is Any or type(None) in _options(schema)


def _without_none(schema: Any) -> Any:
    """X of `X | None`, any other annotation as it is."""
    options = [option for option in _options(schema) if option is not type(None)]
    return options[0] if len(options) == 1 else schema


def _short(schema: Any) -> str:
    """The name of the field for which a plain value stands, if there is one."""
    return next((a.name for a in attrs.fields(schema) if a.metadata.get("short")), "")


def _attrs_class(schema: Any) -> Any:
    """The one attrs class in an annotation (also in `X | None`), else None."""
    found = [o for o in _options(schema) if isinstance(o, type) and attrs.has(o)]
    return found[0] if len(found) == 1 else None


def _reasons(error: BaseException) -> list[str]:
    """What is wrong, each with its place."""

    def say(error: BaseException, _: type | None) -> str:
        return f"{'?' if isinstance(error, AnymodalError) else ''}{error}"

    reasons = []
    for line in cattrs.transform_error(error, format_exception=say):
        said, _, path = line.rpartition(" @ ")
        place = re.sub(r"\['?([^\]']*[^\]'0-9][^\]']*)'?\]", r".\1", path).removeprefix("$").lstrip(".")
        reasons.append(said[1:] if said.startswith("?") else f"{place or 'it'} {said}")
    return reasons


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=False)

    def number(value: Any, kind: type) -> Any:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if not fits or (kind is int and not isinstance(value, int)):
            raise _Unfit("a whole number" if kind is int else "a number", value)
        return kind(value)

    def exactly(value: Any, kind: type) -> Any:
        if not isinstance(value, kind):
            raise _Unfit("text" if kind is str else "true or false", value)
        return value

    def one_of(value: Any, kind: Any) -> Any:
        if not any(type(value) is type(each) and value == each for each in get_args(kind)):
            raise _Unfit(f"one of {', '.join(map(str, get_args(kind)))}", value)
        return value

    def number_or_text(value: Any, kind: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return number(value, float)
        raise _Unfit("a number or text", value)

    def chosen(value: Any, kind: type) -> Any:
        table = table_of(kind)
        assert table is not None
        return converter.structure({k: v for k, v in value.items() if k != table.tag}, table[value[table.tag]])

    converter.register_structure_hook(int, number)
    converter.register_structure_hook(float, number)
    converter.register_structure_hook(str, exactly)
    converter.register_structure_hook(bool, exactly)
    converter.register_structure_hook_func(lambda kind: set(_options(kind)) == {float, str}, number_or_text)
    converter.register_structure_hook(Path, lambda value, _: Path(exactly(value, str)))
    converter.register_structure_hook_func(lambda kind: table_of(kind) is not None, chosen)
    converter.register_structure_hook_func(lambda kind: getattr(kind, "__origin__", None) is typing.Literal, one_of)
    return converter


_CONVERTER = _make_converter()
