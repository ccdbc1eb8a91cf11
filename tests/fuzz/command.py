"""`python tests/fuzz`: the campaigns, their results as JSON, and the table in the docs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click

import anymodal as am
from fuzz.campaign import Counts, run
from fuzz.report import faults, renew


@click.command("fuzz")
@click.option("--count", default=1_000_000, show_default=True, help="The most inputs to read.")
@click.option("--seconds", default=900.0, show_default=True, help="About how long to read.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
@click.option("--seed", default=0, show_default=True, help="Inputs are a function of this and their number.")
@click.option("--first", type=int, help="The first number; by default the one after the last of the earlier run.")
@click.option("--kills", default=0, show_default=True, help="The most commands to interrupt, before anything is read.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/fuzz"), show_default=True)
@click.option("--replay", type=int, help="Read one input, keep its file in --out, and say what came of it.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="The page whose table is to be renewed.")
def main(
    count: int,
    seconds: float,
    jobs: int,
    seed: int,
    first: int | None,
    kills: int,
    out: Path,
    replay: int | None,
    page: Path | None,
) -> None:
    """Read changed files, and kill commands, and count what comes of it. Exits with 1 if there was a fault."""
    out.mkdir(parents=True, exist_ok=True)
    if replay is not None:
        _replay(seed, replay, out)
        return
    known = _read(out / "results.json")
    if kills:
        from fuzz.kills.campaign import run as interrupt

        def note(found: dict[str, Any]) -> None:
            """Write down what is known so far, and say it now and then."""
            _write(out / "results.json", {**known, "kills": found})
            if found["next"] % 10 == 0:
                click.echo(f"{found['next']} interruptions, {faults({'kills': found})} faults")

        known["kills"] = interrupt(known.get("kills", {}), kills, seconds, seed, note)
    known |= {"date": datetime.now(UTC).date().isoformat(), "version": am.__version__}
    began = time.monotonic()
    earlier = reading if (reading := known.get("reading", {})).get("seed") == seed and first is None else {}

    def keep(counts: Counts, following: int) -> None:
        """Say and write down what is known so far."""
        _say(counts, following)
        taken = earlier.get("seconds", 0) + round(time.monotonic() - began)
        known["reading"] = {**_added(earlier, counts), "seed": seed, "next": following, "seconds": taken}
        _write(out / "results.json", known)

    if count:
        keep(*run(seed, earlier.get("next", 0) if first is None else first, count, seconds, jobs, keep))
    _write(out / "results.json", known)
    if page is not None:
        renew(page, known)
    if bad := faults(known):
        click.echo(f"{bad} faults, see {out / 'results.json'}")
        raise SystemExit(1)


def _replay(seed: int, number: int, out: Path) -> None:
    from fuzz.worker import Reader

    reader = Reader(seed)
    subject, victim, data, same = reader.input(number)
    path = out / f"{number}-{Path(victim).name}"
    path.write_bytes(data)
    click.echo(f"{subject.group}, {subject.name}, {victim}{' (means the same)' if same else ''}: {path}")
    click.echo(str(reader.outcome(number)))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    path.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n")


def _added(known: dict[str, Any], counts: Counts) -> dict[str, Any]:
    """The counts of earlier runs of the same seed, and of this one."""
    groups: dict[str, dict[str, int]] = {name: dict(group) for name, group in known.get("groups", {}).items()}
    for name, counter in counts.groups.items():
        group = groups.setdefault(name, {})
        for kind, number in counter.items():
            group[kind] = group.get(kind, 0) + number
    return {"groups": groups, "faults": [*known.get("faults", []), *map(attrs.asdict, counts.faults)]}


def _say(counts: Counts, following: int) -> None:
    click.echo(f"{counts.total} inputs, {counts.bad} faults; next {following}")
