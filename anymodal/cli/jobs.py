"""What the commands that make datasets shard by shard say in the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anymodal.cli.output import Output
from anymodal.errors import counted

if TYPE_CHECKING:
    from anymodal.data.jobs.runner import Summary


def say_made(output: Output, summary: Summary | None, out: Path) -> None:
    """Say what a run has made; nothing in a process that only helped."""
    if summary is None:
        return
    if summary.jobs:
        output.line(f"{counted(summary.samples, 'sample')} in {out}; made {summary.jobs} of {summary.shards} shards")
    else:
        output.line(
            f"{counted(summary.samples, 'sample')} in {out}; nothing to do, all {summary.shards} shards are there"
        )
    if summary.changed:
        output.note(f"made again: {counted(summary.changed, 'shard')}, because files of the data had changed")
    if summary.problems:
        output.note(
            f"left out: {counted(summary.problems, 'value')} that could not be used, see {out / 'problems.jsonl'}"
        )
    output.data(
        {
            "samples": summary.samples,
            "shards": summary.shards,
            "made": summary.jobs,
            "problems": summary.problems,
            "out": str(out),
            **({"changed": summary.changed} if summary.changed else {}),
        }
    )
