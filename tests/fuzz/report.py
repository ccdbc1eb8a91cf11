"""The counts of a campaign as tables in a page of the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fuzz.worker import FAULTS, KINDS

INTERRUPTED = ("in time", "too late", "same result", "files left", "another sample", "clean error", "faults")
MARKED = re.compile(r"(<!-- results of make fuzz -->\n).*?(\n<!-- end -->)", re.DOTALL)


def faults(known: dict[str, Any]) -> int:
    """How many faults were counted."""
    read = sum(group.get(kind, 0) for group in known.get("reading", {}).get("groups", {}).values() for kind in FAULTS)
    return read + sum(each.get("faults", 0) for each in known.get("kills", {}).get("commands", {}).values())


def tables(known: dict[str, Any]) -> str:
    """Both campaigns as Markdown."""
    lines = [f"Of {known['date']}, anymodal {known['version']}."]
    if reading := known.get("reading"):
        total = sum(sum(group.values()) for group in reading["groups"].values())
        lines += ["", f"{total:,} inputs of seed {reading['seed']}:", ""]
        rows = [
            [name, *(str(group.get(kind, 0)) for kind in KINDS)] for name, group in sorted(reading["groups"].items())
        ]
        lines += _table(["files", *KINDS], rows)
    if kills := known.get("kills"):
        total = sum(each["in time"] for each in kills["commands"].values())
        lines += ["", f"{total:,} interruptions of seed {kills['seed']}:"]
        for title, table in (("command", kills["commands"]), ("interruption", kills["kinds"])):
            rows = [[name, *(str(each.get(key, 0)) for key in INTERRUPTED)] for name, each in table.items()]
            lines += ["", *_table([title, *INTERRUPTED], rows)]
    return "\n".join(lines)


def renew(page: Path, known: dict[str, Any]) -> None:
    """Put the tables between the marks of a page."""
    text = page.read_text()
    page.write_text(MARKED.sub(lambda match: match[1] + tables(known) + match[2], text))


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rows)]
