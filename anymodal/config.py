"""Configurations: attrs classes are the schema, YAML files and dotted overrides fill them, nothing is ignored.

A file may be built on another one, `base: model.yaml` (a path relative to it): keys of nested parts are merged, all
else, lists too, is replaced.
"""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
import yaml

from anymodal.errors import AnymodalError, ConfigError, ValueProblem, brief, nearest, one_line
from anymodal.files import read_text
from anymodal.validators import Table, table_of

T = TypeVar("T")

BASE = "base"
MOST_NODES = 100_000  # values in a file, aliases written out


def load_config(path: Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """A configuration from a YAML file; `overrides` are "a.b=value" with YAML values. Raises ConfigError."""
    raw = read_config(path)
    for override in overrides:
        override_value(raw, override)
    return structure(raw, schema, str(path))


def dump_config(config: Any) -> str:
    """A configuration as YAML with every default filled in; `load_config` makes an equal one of it."""
    plain = plain_config(config)
    return yaml.dump(plain, Dumper=_YamlDumper, sort_keys=False, allow_unicode=True, width=120)


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


class _YamlLoader(yaml.SafeLoader):
    """YAML without surprises: 1e-4 is a number, as in YAML 1.2, and a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    earlier = seen[key.value].start_mark.line + 1
                    problem = f"the key {key.value!r} is given twice, first in line {earlier}"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen[key.value] = key
        return super().construct_mapping(node, deep)


class _YamlDumper(yaml.SafeDumper):
    """Writes what `_YamlLoader` reads as the same."""


for each in (_YamlLoader, _YamlDumper):
    each.add_implicit_resolver(  # type: ignore[no-untyped-call]
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def parse_yaml(text: str) -> Any:
    """The plain data in YAML text. Raises ConfigError with the reason."""
    try:
        data = yaml.load(text, _YamlLoader)  # a safe one
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # of a day in a thirteenth month
        raise ConfigError(one_line(str(error).replace('in "<unicode string>", ', "in "), 300)) from None
    if _unfolded(data, {}) > MOST_NODES:
        raise ConfigError(f"its aliases unfold to more than {MOST_NODES} values")
    return data


def _unfolded(data: Any, known: dict[int, int]) -> int:
    """How many values there are when every alias is written out; `known` holds the counts of those seen by id."""
    if not isinstance(data, (dict, list)):
        return 1
    if id(data) not in known:
        known[id(data)] = MOST_NODES + 1  # one that holds itself has no end
        parts = data.values() if isinstance(data, dict) else data
        known[id(data)] = min(1 + sum(_unfolded(part, known) for part in parts), MOST_NODES + 1)
    return known[id(data)]


def read_config(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a YAML file says together with the files it is built on; `above` are those that are built on it."""
    place = path.resolve()
    if place in above:
        raise ConfigError(f"{above[-1]} is built on {path}, which is built on it; leave out one {BASE!r}")
    try:
        text = read_text(path)
    except ValueProblem as error:
        raise ConfigError(f"{error}, the {BASE!r} of {above[-1]}" if above else str(error)) from None
    try:
        raw = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold keys and values at the top level")
    base = raw.pop(BASE, None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise ConfigError(f"{path}: {BASE!r} must be the path of another file, got {brief(base)}")
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
        value = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"the value of {override!r} is not YAML: {error}") from None
    *parents, last = dotted.split(".")
    inside: Any = raw
    for k, parent in enumerate(parents):
        key = _key(inside, parent, override)
        if isinstance(inside, dict) and inside.get(key) is None:
            inside[key] = {}
        inside = inside[key]
        if not isinstance(inside, (dict, list)):
            held = ".".join(parents[: k + 1])
            raise ConfigError(f"{override!r} goes through {held!r}, which holds the plain value {brief(inside)}")
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


def _chosen(raw: Any, table: Table[Any], source: str, place: str) -> dict[str, Any]:
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

    def chosen(value: Any, kind: type) -> Any:
        table = table_of(kind)
        assert table is not None
        return converter.structure({k: v for k, v in value.items() if k != table.tag}, table[value[table.tag]])

    converter.register_structure_hook(int, number)
    converter.register_structure_hook(float, number)
    converter.register_structure_hook(str, exactly)
    converter.register_structure_hook(bool, exactly)
    converter.register_structure_hook(Path, lambda value, _: Path(exactly(value, str)))
    converter.register_structure_hook_func(lambda kind: table_of(kind) is not None, chosen)
    converter.register_structure_hook_func(lambda kind: getattr(kind, "__origin__", None) is typing.Literal, one_of)
    return converter


_CONVERTER = _make_converter()
