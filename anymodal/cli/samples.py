"""`anymodal samples`: photographs that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.output import Output, with_output
from anymodal.included import copy_samples
from anymodal.included import samples as known


@click.group()
def samples() -> None:
    """List and copy the photographs that come with anymodal."""


@samples.command("list")
@with_output
def list_samples(output: Output) -> None:
    """List the sample photographs, which Python opens as `am.sample(NAME)`.

    \b
    anymodal samples list
    anymodal samples list --json
    """
    rows = [{"name": name, "file": str(path)} for name, path in known().items()]
    output.table(["name", "file"], [list(row.values()) for row in rows])
    output.data({"samples": rows})


@samples.command("copy")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("photos"))
@with_output
def copy(output: Output, folder: Path) -> None:
    """Write the sample photographs into DIR, `photos` unless given, with a page that names their licenses.

    \b
    anymodal samples copy
    anymodal samples copy data/rgb
    """
    files = copy_samples(folder)
    pictures = [file for file in files if file.suffix == ".jpg"]
    output.line(f"{len(pictures)} pictures in {folder}: {', '.join(file.name for file in pictures)}")
    output.data({"folder": str(folder), "files": [str(file) for file in files]})
    output.next(f"anymodal generate rgb={pictures[0]} --to all --out out/")
