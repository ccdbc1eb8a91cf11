"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from anymodal.cli.output import Output

config_argument = click.argument("config", type=click.Path(path_type=Path))
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PART=VALUE",
    help="Override a value of the configuration; parts of lists are numbered from 0: data.0.weight=2.",
)
resume_option = click.option("--resume", is_flag=True, help="Take up the newest checkpoint in the folder.")
print_config_option = click.option(
    "--print-config", is_flag=True, help="Print the whole configuration as YAML, and do nothing else."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what the run would take, from the configuration alone, and do nothing else."
)
world_option = click.option(
    "--world", type=click.IntRange(1), default=1, show_default=True, help="With --dry-run: the number of GPUs."
)


def out_option(help: str) -> Callable[[Any], Any]:
    """The folder of the result, which `needed` asks for unless the command is only to print something."""
    return click.option("--out", type=click.Path(path_type=Path), help=help)


def needed(out: Path | None) -> Path:
    """The folder that the user gave. Raises UsageError without one."""
    if out is None:
        raise click.UsageError("missing option '--out'", click.get_current_context())
    return out


def show_config(output: Output, config: Any) -> None:
    """Print a configuration with all defaults: YAML for people and files, one JSON object for programs."""
    from anymodal.config import dump_config, plain_config

    output.line(dump_config(config).rstrip())
    output.data(plain_config(config))


def say_written(output: Output, path: Path | None, out: Path) -> None:
    """Print where the result of a training run is, or how to go on with one that ended early."""
    output.line(f"stopped early; go on with: --out {out} --resume" if path is None else f"wrote {path}")
    output.data({"path": None if path is None else str(path), "finished": path is not None})
