"""Which rows of an index may be found: conditions on their names and columns."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from anymodal.config.validators import is_number
from anymodal.errors import ConfigError, ValueProblem, brief, nearest
from anymodal.retrieval.record import NAME

if TYPE_CHECKING:
    import numpy as np

    from anymodal.retrieval.shards import Shard, Texts
else:
    from anymodal.lazy import np

PATTERN = re.compile(r"[*?\[]")
Conditions = Mapping[str, Any]


def check_conditions(conditions: Conditions, kinds: Mapping[str, str]) -> None:
    """Raise ConfigError for a column that there is not, and for a condition that its kind cannot meet."""
    if not isinstance(conditions, Mapping):
        raise ConfigError(f"conditions are a mask, or a text, number or range by column, not {brief(conditions)}")
    for name, wanted in conditions.items():
        if not isinstance(name, str) or name not in (NAME, *kinds):
            known = [NAME, *kinds]
            raise ConfigError(
                f"the index has no column {brief(name)}{nearest(str(name), known)}; it has {', '.join(known)}"
            )
        if name == NAME or kinds[name] == "text":
            if not isinstance(wanted, str):
                raise ConfigError(f"{name} is text: {brief(wanted)} is no text or pattern such as 'street/*'")
        elif not _is_number(wanted) and not (_is_pair(wanted) and all(v is None or _is_number(v) for v in wanted)):
            raise ConfigError(f"{name} is a number: {brief(wanted)} is neither one nor a pair (low, high)")


def _is_number(value: object) -> bool:
    if not is_number(value):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:  # of an integer beyond what 64 bits can be compared with
        return False


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def rows_allowed(shards: Iterable[Shard], conditions: Conditions) -> np.ndarray:
    """The rows that were not removed and meet all conditions: bool, through all shards."""
    return np.concatenate([np.zeros(0, bool), *(_allowed(shard, conditions) for shard in shards)])


def _allowed(shard: Shard, conditions: Conditions) -> np.ndarray:
    allowed = shard.living.copy()
    for name, wanted in conditions.items():
        column = shard.column(name)
        if column is None:
            return np.zeros(len(shard), bool)
        allowed &= _numbers_in(column, wanted) if isinstance(column, np.ndarray) else _texts_like(column, wanted)
    return allowed


def _texts_like(column: Texts, wanted: str) -> np.ndarray:
    """The rows whose text is the wanted one, or fits it as a pattern; photo[1].jpg is a name that looks like one."""
    fits = re.compile(translate(wanted)).match if PATTERN.search(wanted) else wanted.__eq__
    codes = [code for code, text in enumerate(column.different) if text == wanted or fits(text)]
    return np.isin(column.codes, np.array(codes, np.uint32))


def _numbers_in(column: np.ndarray, wanted: Any) -> np.ndarray:
    low, high = wanted if _is_pair(wanted) else (wanted, wanted)
    return (column >= (-np.inf if low is None else float(low))) & (column <= (np.inf if high is None else float(high)))


def parse_condition(text: str, kind: str) -> Any:
    """What is written behind a column's name: a text or a pattern, a number, or LOW..HIGH with either left out.

    Raises ValueProblem for what is no number where one is needed.
    """
    if kind == "text":
        return text
    try:
        low, between, high = text.partition("..")
        found = (float(low) if low else None, float(high) if high else None) if between else float(text)
    except ValueError:
        found = math.nan
    if not all(each is None or _is_number(each) for each in (found if isinstance(found, tuple) else [found])):
        raise ValueProblem(f"{text!r:.80} is no number, and no range such as 2010..2020")
    return found
