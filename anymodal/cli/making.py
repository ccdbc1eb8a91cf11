"""What the commands that make datasets shard by shard share: their options, and what they say in the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anymodal.cli.output import Output

if TYPE_CHECKING:
    from anymodal.data.jobs.runner import Summary

OPTIONS = (
    click.option(
        "--shard-size", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Samples a file."
    ),
    click.option(
        "--executor",
        type=click.Choice(["local", "ray", "torchrun"]),
        default="local",
        show_default=True,
        help="Processes of this machine, a Ray cluster, or the processes of torchrun.",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one for each GPU, or else core]"),
    click.option(
        "--max-bad",
        type=click.FloatRange(0, 1),
        default=0.01,
        show_default=True,
        help="Share of samples that may be bad.",
    ),
)


def making_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a run, and pass them on in a dict `run`."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        run = {name: options.pop(name) for name in ("shard_size", "executor", "workers", "max_bad")}
        return function(*arguments, run=run, **options)

    return functools.reduce(lambda inner, option: option(inner), reversed(OPTIONS), command)


def report(output: Output, summary: Summary | None, out: Path) -> None:
    """Say what a run has made; nothing in a process that only helped."""
    if summary is None:
        return
    if summary.jobs:
        output.line(f"{summary.samples} samples in {out}; made {summary.jobs} of {summary.shards} shards")
    else:
        output.line(f"{summary.samples} samples in {out}; nothing to do, all {summary.shards} shards are there")
    if summary.problems:
        output.note(f"left out: {summary.problems} values that could not be used, see {out / 'problems.jsonl'}")
    output.data(
        {
            "samples": summary.samples,
            "shards": summary.shards,
            "made": summary.jobs,
            "problems": summary.problems,
            "out": str(out),
        }
    )
