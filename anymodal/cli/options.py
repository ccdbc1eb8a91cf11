"""An option that several commands share."""

from __future__ import annotations

import click

overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PART=VALUE",
    help="Override a value of the configuration; parts of lists are numbered from 0: data.0.weight=2.",
)
