"""Choices with their own fields as people write them: NAME or NAME:VALUE:.., the values in the order of the fields."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs

from anymodal.config.tables import SettingsTable, init_fields
from anymodal.errors import ConfigError


def spelled(choice: Any) -> str:
    """NAME or NAME:VALUE:.. of an entry of a table; values at the end that are the default are left out."""
    name = getattr(choice, "name", type(choice).__name__)  # without a name where it is in no table
    fields = [field for field in attrs.fields(type(choice)) if field.init]
    while fields and fields[-1].default == getattr(choice, fields[-1].name):
        fields.pop()
    return ":".join([name, *(word(getattr(choice, field.name)) for field in fields)])


def word(value: float | str) -> str:
    """A text as it is, or the short form of a number; all of its digits where those of the short form are another."""
    if isinstance(value, str):
        return value
    return short if float(short := f"{value:g}") == value else repr(float(value))


def parsed(value: object, table: SettingsTable[Any]) -> Any:
    """An entry from NAME or NAME:VALUE:.., or what else the table takes. Raises ConfigError."""
    if not isinstance(value, str):
        return table(value)
    name, *parts = value.split(":")
    kind = table[name]
    fields = init_fields(kind)
    needed = sum(field.init and field.default is attrs.NOTHING for field in attrs.fields(kind))
    values = [_value(part) for part in parts]
    texts = [name for name, field in attrs.fields_dict(kind).items() if field.type in (str, "str")]
    wrong = any(isinstance(each, str) and field not in texts for field, each in zip(fields, values, strict=False))
    if wrong or not needed <= len(parts) <= len(fields):
        numbers = "" if texts and set(fields) & set(texts) else ", with numbers"
        form = ":".join([name, *(field.upper() for field in fields)])
        raise ConfigError(f"{value!r:.80} is not of the form {form}{numbers}")
    return kind(**dict(zip(fields, values, strict=False)))


def _value(part: str) -> float | str:
    with suppress(ValueError):
        return float(part)
    return part


def plain(choice: Any) -> Any:
    """An entry of a table as plain data, of which the table makes the same: its name, or a block with its fields."""
    name = getattr(choice, "name", type(choice).__name__)
    own = {field: getattr(choice, field) for field in init_fields(type(choice))}
    return {"name": name, **own} if own else name
