"""`anymodal samples`: photographs that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.output import Output, with_output
from anymodal.included import copy_samples, sample_sources


@click.group()
def samples() -> None:
    """List and copy the photographs that come with anymodal."""


@samples.command("list")
@with_output
def list_samples(output: Output) -> None:
    """List the sample photographs with their licenses; Python opens one as `am.sample(NAME)`.

    \b
    anymodal samples list
    anymodal samples list --json
    """
    rows = [{"name": name, "shows": shows, "source": source} for name, (shows, source) in sample_sources().items()]
    output.table(["name", "shows", "source"], [list(row.values()) for row in rows])
    output.data({"samples": rows})


@samples.command("copy")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("photos"))
@with_output
def copy(output: Output, folder: Path) -> None:
    """Write the sample photographs into DIR, `photos` unless given.

    Files that are there already stay as they are; one that differs is an error, and then nothing is written.

    \b
    anymodal samples copy
    anymodal samples copy data/rgb
    """
    files = copy_samples(folder)
    output.line(f"{len(files)} pictures in {folder}: {', '.join(file.name for file in files)}")
    output.data({"folder": str(folder), "files": [str(file) for file in files]})
    output.next(f"anymodal generate rgb={files[0]} --to all --out out/")
