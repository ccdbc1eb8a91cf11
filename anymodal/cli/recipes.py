"""`anymodal recipes`: configurations that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli import completion
from anymodal.cli.output import Output, with_output
from anymodal.errors import counted
from anymodal.included import copy_recipes
from anymodal.included import recipes as known


@click.group()
def recipes() -> None:
    """List and copy the configurations that come with anymodal."""


@recipes.command("list")
@with_output
def list_recipes(output: Output) -> None:
    """List the folders of recipes.

    \b
    anymodal recipes list
    anymodal recipes list --json
    """
    rows = [{"name": name, "what": what} for name, what in known().items()]
    output.table(["name", "what"], [list(row.values()) for row in rows])
    output.data({"recipes": rows})


@recipes.command("copy")
@click.argument("name", shell_complete=completion.recipes)
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("recipes"))
@with_output
def copy(output: Output, name: str, folder: Path) -> None:
    """Write the recipes NAME to DIR/NAME, and those they build on beside them. DIR is `recipes` unless given.

    Files that are there already stay as they are; one that differs is an error, and then nothing is written.

    \b
    anymodal recipes copy tiny
    anymodal recipes copy fourm configurations
    """
    files = copy_recipes(name, folder)
    output.line(f"{counted(len(files), 'file')} in {folder / name}")
    output.data({"folder": str(folder / name), "files": [str(file) for file in files]})
    output.next(f"anymodal train {folder / name / 'model.yaml'} --dry-run")
