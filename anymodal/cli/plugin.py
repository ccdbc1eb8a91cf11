"""`anymodal plugin`: plugins of all kinds."""

from __future__ import annotations

import click

from anymodal.cli.modalities import listing
from anymodal.cli.output import Output, with_output
from anymodal.discovery import PARTS
from anymodal.plugins import registry


@click.group()
def plugin() -> None:
    """List plugins."""


@plugin.command("list")
@with_output
def list_plugins(output: Output) -> None:
    """List the installed plugins: modalities, presets, labellers and commands.

    \b
    anymodal plugin list
    anymodal plugin list --json
    """
    rows = listing(registry(), "modality", *PARTS)
    output.table(list(rows[0]) if rows else ["name"], [list(row.values()) for row in rows])
    output.data({"plugins": rows})
