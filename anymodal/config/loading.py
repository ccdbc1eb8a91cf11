"""Configurations: attrs classes are the schema, YAML files and dotted overrides fill them, nothing is ignored.

A file may be built on another one, `base: model.yaml` (a path relative to it): keys of nested parts are merged, all
else, lists too, is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import yaml

from anymodal.config.structure import structure
from anymodal.errors import ConfigError, ValueProblem, brief, one_line
from anymodal.files import read_text
from anymodal.included import way_to

T = TypeVar("T")

BASE = "base"
MOST_NODES = 100_000  # values in a file, aliases written out


def load_config(path: Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """A configuration from a YAML file; `overrides` are "a.b=value" with YAML values. Raises ConfigError."""
    raw = read_config(path)
    override_values(raw, overrides)
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
        count = _unfolded(data, {})
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    except Exception as error:  # of a day in a thirteenth month, and whatever else a tag such as !!float may promise
        said = str(error) if isinstance(error, (yaml.YAMLError, ValueError)) else "a tag does not fit what follows it"
        raise ConfigError(one_line(said.replace('in "<unicode string>", ', "in "), 300)) from None
    if count > MOST_NODES:
        raise ConfigError(f"its aliases unfold to more than {MOST_NODES} values")
    return data


def _unfolded(data: Any, known: dict[int, int]) -> int:
    """How many values there are when every alias is written out; `known` holds the counts of those seen by id.

    Raises UnicodeEncodeError, a ValueError, for text with half a letter, which no file or terminal takes.
    """
    if isinstance(data, str):
        data.encode()
    if not isinstance(data, (dict, list)):
        return 1
    if id(data) not in known:
        known[id(data)] = MOST_NODES + 1  # one that holds itself has no end
        for key in data if isinstance(data, dict) else ():
            _unfolded(key, known)
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
        raise ConfigError(f"{error}, the {BASE!r} of {above[-1]}" if above else f"{error}{way_to(path)}") from None
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
    if "\0" in base:
        raise ConfigError(f"{path}: {BASE!r} must be the path of another file, and {brief(base)} can be none")
    return _merged(read_config(path.parent / base, (*above, place)), raw)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def override_values(raw: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set each "a.b=value" in turn, in place. Raises ConfigError for one of which a later one would leave nothing."""
    given: list[str] = []
    for override in overrides:
        key = override.partition("=")[0]
        if key in given:
            raise ConfigError(f"{key} is given twice, the second time as {brief(override)}; give each key once")
        if lost := next((each for each in given if each.startswith(f"{key}.")), None):
            raise ConfigError(f"{brief(override)} replaces {lost}, which is given before it; give it after {key}")
        given.append(key)
        override_value(raw, override)


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
