"""What a user asks of a command that trains, and how it is carried out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from anymodal.cli.options import DRY_RUN_OPTIONS, TRAINING_OPTIONS, with_options
from anymodal.cli.output import Output
from anymodal.errors import ConfigError
from anymodal.files import check_folder
from anymodal.progress import is_quiet

C = TypeVar("C")
R = TypeVar("R")

# By a key that they alone read.
COMMANDS = {"masking": "train", "modality": "train-tokenizer", "objective": "train-teacher", "task": "transfer"}


@attrs.frozen
class Request:
    """What a user asks of a command that trains."""

    config: Path
    out: Path | None
    overrides: tuple[str, ...]
    resume: bool
    print_config: bool
    dry_run: bool = False
    world: int = 1

    def carry_out(
        self,
        output: Output,
        kind: type[C],
        run: Callable[..., R],
        report: Callable[[Output, R, Path], None],
        show_plan: Callable[[Output, C, int], None] | None = None,
        complete: Callable[[C], C] = lambda config: config,
    ) -> None:
        """Print the configuration, show what it would take, or run it and report the result.

        `kind` is the class of the configuration. `run` is called with the configuration, the folder, `resume` and
        `verbose`; `complete` fills in what a printed configuration says besides. Raises ConfigError if the file is one
        for another command, UsageError if a folder is needed and not given.
        """
        from anymodal.config import dump_config, load_config, plain_config

        if self.print_config and self.dry_run:
            raise ConfigError("--print-config and --dry-run each print something else; give one of them")
        if self.world != 1 and not self.dry_run:
            raise ConfigError("--world is a number that --dry-run plans for; torchrun starts several processes")
        _check_command(self.config)
        config = load_config(self.config, kind, self.overrides)
        if self.print_config:
            config = complete(config)
            output.line(dump_config(config).rstrip())
            output.data(plain_config(config))
        elif self.dry_run and show_plan is not None:
            show_plan(output, config, self.world)
        elif self.out is None:
            raise click.UsageError("missing option '--out'", click.get_current_context())
        else:
            check_folder(self.out)
            report(output, run(config, self.out, resume=self.resume, verbose=not is_quiet()), self.out)


def _check_command(path: Path) -> None:
    from anymodal.config import read_config

    readers = {COMMANDS[key]: key for key in read_config(path) if key in COMMANDS}
    if readers and click.get_current_context().info_name not in readers:
        command, key = next(iter(readers.items()))
        raise ConfigError(f"{path} is for `anymodal {command}`: it has the key {key!r}")


def training_options(out: str, *, plans: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a training run, and pass them on as a `Request`.

    `out` is the help of `--out`; `plans` says whether the command can show what a run would take.
    """
    options = (
        click.argument("config", type=click.Path(path_type=Path)),
        click.option("--out", type=click.Path(path_type=Path), help=out),
        *TRAINING_OPTIONS,
        *(DRY_RUN_OPTIONS if plans else ()),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*arguments: Any, **given: Any) -> Any:
            asked = {field.name for field in attrs.fields(Request)} & given.keys()
            return function(*arguments, request=Request(**{name: given.pop(name) for name in asked}), **given)

        return with_options(command, options)

    return decorate


def say_written(output: Output, path: Path | None, out: Path) -> None:
    """Print where the result of a training run is, or how to go on with one that ended early."""
    output.line(f"stopped early; go on with: --out {out} --resume" if path is None else f"wrote {path}")
    output.data({"path": None if path is None else str(path), "finished": path is not None})
