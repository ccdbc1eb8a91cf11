"""Run benchmarks: `python -m benchmarks [NAME ...] [--quick] [--against FILE|REF]`.

    python -m benchmarks --quick                       # a few small rows of each, under two minutes
    python -m benchmarks caption --only size=s,batch=1 --threads 1
    python -m benchmarks caption draw --against main   # another revision in turn with this one: ratios
    python -m benchmarks quality                       # what is no time is run when it is named

A row is the median of several rounds. The floor is what the matrix products and the reads of memory of the work take by
themselves, measured in the same rounds; a twin is the plain way of doing the same.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from anymodal.config import parse_yaml
from anymodal.errors import AnymodalError, ConfigError, nearest
from benchmarks.harness import report
from benchmarks.harness.base import Case, Figures, Timed, load, names, title
from benchmarks.harness.revisions import ROOT, checkout, folders
from benchmarks.harness.rounds import Job, Limits, WorkerError, measure

QUICK = Limits(least=1, most=3, seconds=1.0, twins=0)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="by default all that measure time")
    made.add_argument("--quick", action="store_true", help="few small rows, few rounds")
    made.add_argument("--threads", default="1,2", help="how many, one or several: 1,2")
    made.add_argument("--only", default="", help="rows of some cases: size=s,batch=1")
    made.add_argument("--rounds", type=int, help="how many rounds of each row")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    made.add_argument("--table", type=Path, metavar="FILE", help="write the table as Markdown")
    made.add_argument("--against", metavar="FILE|REF", help="the JSON of an earlier run, or a revision run in turn")
    made.add_argument("--set", action="append", default=[], metavar="NAME.SETTING=VALUE", help="quality.count=20")
    made.add_argument("--list", action="store_true", help="name the benchmarks")
    return made


def wanted(case: Case, only: str) -> bool:
    pairs = [pair.partition("=")[::2] for pair in only.split(",") if pair]
    return all(str(case.get(key)) == value for key, value in pairs)


def by_name(settings: Sequence[str], run: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings NAME.SETTING=VALUE by name. Raises ConfigError for another form, and for what is not among those run."""
    found: dict[str, dict[str, Any]] = {}
    for each in settings:
        place, equals, value = each.partition("=")
        name, dot, key = place.partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {each!r:.80} is not of the form NAME.SETTING=VALUE, such as quality.count=20")
        if name not in run:
            raise ConfigError(f"--set {each!r:.80} is of {name!r:.80}, which is not run{nearest(name, run)}; name it")
        if key in found.setdefault(name, {}):
            raise ConfigError(f"{place} is given twice; give each setting once")
        found[name][key] = parse_yaml(value)
    return found


def rows(
    options: argparse.Namespace, settings: Mapping[str, Mapping[str, Any]], there: Sequence[Path] | None
) -> Iterator[dict[str, Any]]:
    """The rows of all that measure time, one by one."""
    chosen = {name: load(name, settings.get(name)) for name in options.names or names()}
    limits = QUICK if options.quick else Limits()
    if options.rounds:
        limits = Limits(options.rounds, options.rounds)
    threads = [1] if options.quick else [int(count) for count in options.threads.split(",")]
    for name, benchmark in chosen.items():
        if not isinstance(benchmark, Timed):
            continue
        for case in filter(lambda case: wanted(case, options.only), benchmark.cases(options.quick)):
            for job in [Job(name, settings.get(name, {}), case, count) for count in threads]:
                begun = time.monotonic()
                try:
                    row = measure(job, folders(ROOT), there, limits)
                except WorkerError as error:
                    row = {**job.row, "error": str(error)}
                took = f"{title(name, case)} threads={job.threads}, after {time.monotonic() - begun:.0f} s"
                print(f"{took}: {report.brief(row)}", file=sys.stderr, flush=True)
                yield row


def figures(options: argparse.Namespace, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What the named benchmarks that measure no time say."""
    chosen = {name: load(name, settings.get(name)) for name in options.names}
    return {name: each.run(options.quick) for name, each in chosen.items() if isinstance(each, Figures)}


def write(options: argparse.Namespace, found: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> None:
    """Write the files that were asked for, after each row: a run of hours may be cut off."""
    result = {"machine": report.machine(), "against": options.against, "rows": found, "figures": said}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.table:
        options.table.write_text(report.page(result))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a checkout of another revision is removed
    options = parser().parse_args()
    if options.list:
        print("\n".join(f"{name:12} {(type(load(name)).__doc__ or '').splitlines()[0]}" for name in names()))
        print(f"\n{report.aims()}")
        return
    settings = by_name(options.set, options.names or [name for name in names() if isinstance(load(name), Timed)])
    earlier = Path(options.against) if options.against else None
    before = json.loads(earlier.read_text())["rows"] if earlier and earlier.is_file() else None
    with checkout(options.against) if options.against and before is None else nullcontext() as there:
        found: list[dict[str, Any]] = []
        for row in rows(options, settings, there):
            found.append(row if before is None else report.beside(row, {report.key(old): old for old in before}))
            write(options, found, {})
    said = figures(options, settings)
    if not found and not said:
        raise ConfigError("nothing was measured: no row fits --only, or there is none for --quick")
    write(options, found, said)
    if found:
        print(report.compared(found) if options.against else report.table(found))
    for name, numbers in said.items():
        print(f"{name}\n{json.dumps(numbers, indent=2)}")
    if any("error" in row for row in found):
        raise ConfigError("not all rows could be measured")


if __name__ == "__main__":
    try:
        main()
    except AnymodalError as error:
        sys.exit(f"error: {error}")
