"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion

overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PART=VALUE",
    help="Override a value of the configuration; parts of lists are numbered from 0: data.0.weight=2.",
)


FROM = "name the inputs by --from"  # of a model that reads no photographs


def names_option(*flags: str, help: str) -> Callable[..., Any]:
    """An option whose value is names of modalities with commas between; TAB completes them."""
    return click.option(*flags, metavar="NAMES", shell_complete=completion.modalities, help=help)


class PngPath(click.Path):
    """The path of a PNG file to write: another ending would belie what is in it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix.lower() != ".png":
            self.fail(f"{path} is to be a PNG file; let its name end in .png", param, ctx)
        return path


def _executor(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """The name of an executor. Raises ConfigError for one that there is not."""
    if name != "local":
        from anymodal.data.jobs.executors import EXECUTORS

        EXECUTORS[name]
    return name


JOB_OPTIONS = (
    click.option(
        "--executor",
        default="local",
        show_default=True,
        callback=_executor,
        shell_complete=completion.executors,
        help="local: processes of this machine; ray: a Ray cluster; torchrun: the processes that it started.",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one for each GPU, or else core]"),
    click.option(
        "--max-bad",
        type=click.FloatRange(0, 1),
        default=0.01,
        show_default=True,
        help="Share of samples that may be bad.",
    ),
)

TRAINING_OPTIONS = (
    overrides_option,
    click.option("--resume", is_flag=True, help="Take up the newest checkpoint in the folder."),
    click.option("--print-config", is_flag=True, help="Print the whole configuration as YAML, and do nothing else."),
)
DRY_RUN_OPTIONS = (
    click.option(
        "--dry-run",
        is_flag=True,
        help="Print what the run would take, from the configuration alone, and do nothing else.",
    ),
    click.option(
        "--world", type=click.IntRange(1), default=1, show_default=True, help="With --dry-run: the number of GPUs."
    ),
)


def with_options(function: Callable[..., Any], options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    """The function with options of click, the first one on top of its help."""
    return functools.reduce(lambda inner, option: option(inner), reversed(options), function)


def job_options(shard_size: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a run, and pass them on in a dict `run`; `shard_size` is the default of its own."""
    size = click.option(
        "--shard-size",
        type=click.IntRange(1, 100_000),
        default=shard_size,
        show_default=True,
        help="Samples that are finished together; of tars, those of a file.",
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*arguments: Any, **options: Any) -> Any:
            run = {name: options.pop(name) for name in ("shard_size", "executor", "workers", "max_bad")}
            return function(*arguments, run=run, **options)

        return with_options(command, (size, *JOB_OPTIONS))

    return decorate
