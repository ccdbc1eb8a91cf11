"""Results as JSON and as a table in Markdown."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.base import Figures, Timed, load, names
from benchmarks.harness.revisions import revision
from benchmarks.harness.rounds import CONFIDENCE, sureness

OWN = ("benchmark", "threads")  # what a row has beside what tells its case
MEASURED = {
    *("items", "unit", "wall", "spread", "cpu", "rounds", "floor", "gflop", "gbyte", "of_floor", "twin", "of_twin"),
    *("peak_mb", "against", "error"),
}


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "revision": revision(),
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def heading(where: Mapping[str, Any]) -> str:
    """The machine and the date in a line."""
    busy = f"; {where['load']:.1f} processes wanted to run on average" if where["load"] else ""
    software = f"PyTorch {where['torch']}, Python {where['python']}"
    hardware = f"{where['processor']}, {where['cores']} cores, {where['vectors']}"
    return f"{where['date']}, revision {where['revision']}: {hardware}; {software}{busy}."


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def key(row: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """What tells a row from all others, here and in a file of another run."""
    return tuple((name, value) for name, value in row.items() if name not in MEASURED)


def case(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name not in {*MEASURED, *OWN})


def seconds(value: float) -> str:
    """A time with three digits and its unit."""
    scale, unit = (1.0, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{value * scale:.3g} {unit}"


def brief(row: Mapping[str, Any]) -> str:
    """What was found, in a few words."""
    against = row.get("against", {})
    if error := row.get("error") or against.get("error"):
        return str(error)
    if against:
        return f"{against['wall']['faster']:.2f} x as fast, {against['cpu']['faster']:.2f} x in processor time"
    return seconds(row["wall"]) + (f", {row['of_floor']:.2f} x the floor" if "floor" in row else "")


def page(result: Mapping[str, Any]) -> str:
    """A file of results as the Markdown that lies beside it: the machine, rows of times, and tables of figures."""
    rows = result["rows"]
    parts = [heading(result["machine"])]
    if rows:
        parts.append(compared(rows) if result.get("against") else table(rows))
    for name, found in result["figures"].items():
        each = load(name)
        parts += [text for text in [each.table(found) if isinstance(each, Figures) else ""] if text]
    return "\n\n".join(parts) + "\n"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; cells that a line lacks at its end are empty."""
    full = [[*line, *[""] * (len(head) - len(line))] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *full])


def about(value: float, width: float | None, digits: int) -> str:
    """A number and how sure it is, where that is known."""
    return f"{value:.{digits}f}" + (f" ± {width:.{digits}f}" if width is not None else "")


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line a row."""
    head = ["benchmark", "case", "threads", "time", "spread", "CPU time", "floor", "of floor", "twin", "peak MB", "aim"]
    return markdown(head, map(_cells, rows))


def _cells(row: Mapping[str, Any]) -> list[str]:
    start = [row["benchmark"], case(row), str(row["threads"])]
    if "wall" not in row:
        return [*start, row.get("error", "not measured"), *[""] * 6, aim(row["benchmark"])]
    rate = "" if row["unit"] == "run" else f" ({row['items'] / row['wall']:.3g} {row['unit']}s/s)"
    floor = (seconds(row["floor"]), f"{row['of_floor']:.2f} x") if "floor" in row else ("", "")
    twin = f"{row['of_twin']:.1f} x slower" if "twin" in row else ""
    peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else ""
    spread = " to ".join(map(seconds, row["spread"]))
    return [*start, seconds(row["wall"]) + rate, spread, seconds(row["cpu"]), *floor, twin, peak, aim(row["benchmark"])]


def aim(name: str) -> str:
    """What a benchmark should reach, in words; "" where nobody says."""
    return load(name).target if name in names() and isinstance(load(name), Timed) else ""


def aims() -> str:
    """All benchmarks of time with what they measure and should reach."""
    found = [(name, load(name)) for name in names()]
    rows = [
        [f"`{name}`", (type(each).__doc__ or "").splitlines()[0].rstrip("."), each.target]
        for name, each in found
        if isinstance(each, Timed)
    ]
    return markdown(["benchmark", "what", "aim"], rows)


def compared(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line a row: how many times faster it is than what it was compared with."""
    head = ["benchmark", "case", "threads", "before", "now", "faster", "95 %", "in CPU time", "95 %"]
    lines = []
    for row in rows:
        start = [row["benchmark"], case(row), str(row["threads"])]
        found = row.get("against", {"error": "not measured before"})
        if "error" in found:
            cells = [*start, found["error"]]
        else:
            ratios = [c for k in ("wall", "cpu") for c in _ratio(found[k], row.get("rounds"))]
            cells = [*start, seconds(found["seconds"]), seconds(row["wall"]), *ratios]
        lines.append(cells)
    return markdown(head, lines)


def _ratio(found: Mapping[str, float], rounds: int | None) -> list[str]:
    """A ratio and its interval, with how sure that is where there were too few rounds for 95 %."""
    ratio = f"{found['faster']:.2f} x"
    if "low" not in found:
        return [ratio, ""]
    sure = CONFIDENCE if rounds is None else sureness(rounds)
    return [
        ratio,
        f"{found['low']:.2f} to {found['high']:.2f}" + (f" ({100 * sure:.0f} %)" if sure < CONFIDENCE else ""),
    ]


def beside(row: Mapping[str, Any], before: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """A row with its ratios to that of an earlier run; times of other hours, so there is no interval."""
    old = before.get(key(row))
    if old is None or "wall" not in old or "wall" not in row:
        return dict(row)
    ratios = {name: {"faster": old[name] / row[name]} for name in ("wall", "cpu")}
    return {**row, "against": {**ratios, "seconds": old["wall"]}}
