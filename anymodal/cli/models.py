"""`anymodal models`: the models that can be loaded by a short name."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.checkpoints.presets import presets
from anymodal.cli.output import Output, with_output


@click.command()
@with_output
def models(output: Output) -> None:
    """List the models that have a short name; --model also takes folders, files and other repositories on the Hub.

    \b
    anymodal models
    anymodal generate caption="a dog" --to rgb --model 4m-7-b
    """
    rows = [
        {"name": name, "where": each.folder, "status": status(each.folder), "modalities": each.modalities}
        for name, each in presets().items()
    ]
    shown = [[row["name"], row["where"], row["status"], ", ".join(row["modalities"] or ["all"])] for row in rows]
    output.table(["name", "where", "status", "modalities"], shown)
    output.data({"models": rows})


def status(place: str) -> str:
    """Whether a preset is on the Hub, installed, or announced without its files."""
    if not Path(place).is_absolute():
        return "on the Hub"
    return "installed" if (Path(place) / "config.json").is_file() else "missing"
