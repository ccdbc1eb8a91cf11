"""What was found in an index."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from anymodal.notebook import html_table


@attrs.frozen
class Hit:
    """Something found: its name, the cosine of its vector with the query's, and what else the index knows of it.

    row: its number in the index.
    data: where the dataset lies that it comes from, "" for vectors that were added by hand.
    values: its columns.
    """

    name: str
    score: float
    row: int
    data: str = ""
    values: Mapping[str, str | float] = attrs.field(factory=dict)


class Hits(list[Hit]):
    """What was found, the nearest first: a list, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        columns = list(dict.fromkeys(name for hit in self for name in hit.values))
        rows = [(f"{hit.score:.4f}", hit.name, *map(hit.values.get, columns)) for hit in self]
        return html_table(("score", "name", *columns), rows)
