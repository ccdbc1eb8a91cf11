"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

config_argument = click.argument("config", type=click.Path(path_type=Path))
overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PART=VALUE", help="Override a value of the configuration."
)
resume_option = click.option("--resume", is_flag=True, help="Take up the newest checkpoint in the folder.")
