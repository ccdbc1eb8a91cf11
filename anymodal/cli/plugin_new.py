"""`anymodal plugin new`: a distribution to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.output import Output, with_output
from anymodal.plugins.template import families


@click.command()
@click.argument("name")
@click.option(
    "--family", type=click.Choice(families()), default="image", show_default=True, help="What its values are like."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder to write it into (here).")
@click.option("--author", help="Its author; the name in the settings of git unless given.")
@with_output
def new(output: Output, name: str, family: str, out: Path, author: str | None) -> None:
    """Write the plugin of a new modality, a whole distribution that passes its own checks.

    \b
    anymodal plugin new height_map
    anymodal plugin new bird_song --family text --out ~/src
    """
    from anymodal.plugins.registry import registry
    from anymodal.plugins.template import write_plugin

    folder = write_plugin(name, family, out, author=author)
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    output.line(f"{folder}: {', '.join(paths)}")
    if (rival := registry().modalities().get(name)) is not None:
        output.line(f"note: {rival.distribution} provides {name!r} too; of two, none is used until one is chosen")
    output.data({"folder": str(folder), "files": paths})
    output.next(f"pip install -e {folder} && anymodal plugin check {name}")
