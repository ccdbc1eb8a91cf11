"""The entry point: commands by name, imported when used, and errors as one line.

Exit codes: 0; 1 for problems that were looked for and found, and when the reader of a pipe has left; 2 for an error of
the user's or of the system, such as a file that may not be read, 70 for one of ours; 130 when interrupted.
ANYMODAL_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from anymodal import __version__
from anymodal.cli.completion import use_our_scripts
from anymodal.errors import AnymodalError, legible, nearest, one_line, system_message
from anymodal.plugins.registry import registry

COMMANDS = {
    "calibrate": ("anymodal.cli.calibrate:calibrate", "Fit how sure a model is to held-out data."),
    "convert": ("anymodal.cli.convert:convert", "Convert a checkpoint: published 4M <-> ours."),
    "data": ("anymodal.cli.data:data", "Check data."),
    "doctor": ("anymodal.cli.doctor:doctor", "Say what is installed, what works and what does not."),
    "eval": ("anymodal.cli.evaluate:evaluate", "Score a model at a task, beside its bound and baselines."),
    "export": ("anymodal.cli.export:export", "Write a model as ONNX graphs."),
    "generate": ("anymodal.cli.generate:generate", "Generate some modalities from others."),
    "label": ("anymodal.cli.label:label", "Label pictures: make other modalities from them."),
    "modalities": ("anymodal.cli.modalities:modalities", "List the installed modalities, or describe one."),
    "models": ("anymodal.cli.models:models", "List the models that have a short name."),
    "plugin": ("anymodal.cli.plugin:plugin", "Find, install, make, check and list plugins."),
    "probe": ("anymodal.cli.probe:probe", "Try what frozen features of a model know."),
    "recipes": ("anymodal.cli.recipes:recipes", "List and copy the configurations that come with anymodal."),
    "samples": ("anymodal.cli.samples:samples", "List and copy the photographs that come with anymodal."),
    "repeat": ("anymodal.cli.repeat:repeat", "Make again what `generate` saved, and compare."),
    "retrieve": ("anymodal.cli.retrieve:retrieve", "Make an index of a dataset, and ask it by any modality."),
    "tokenize": ("anymodal.cli.tokenize:tokenize", "Turn a folder of files into tokens."),
    "train": ("anymodal.cli.train:train", "Train a model from a configuration."),
    "train-teacher": ("anymodal.cli.train_teacher:train_teacher", "Train a small network that labels features."),
    "transfer": ("anymodal.cli.transfer:transfer", "Fine-tune a model for a task, with a small head."),
    "train-tokenizer": ("anymodal.cli.train_tokenizer:train_tokenizer", "Train the tokenizer of a modality."),
}


class Commands(click.Group):
    """Our commands by the table above, and those that plugins announce as `command-NAME`."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*COMMANDS, *registry().commands()})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        if name not in registry().commands():
            return None
        return registry().command(name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.list_commands(context) and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{nearest(args[0], self.list_commands(context))}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        ours = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        theirs = [(name, c.summary) for name, c in registry().commands().items() if name not in COMMANDS]
        for title, rows in (("Commands", ours), ("Commands of plugins", theirs)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="anymodal %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Any-to-any multimodal models, in which every modality is a plugin.

    \b
    anymodal modalities
    anymodal generate rgb=photo.jpg --to depth,caption --out out/
    """
    if context.invoked_subcommand is None:
        from anymodal.cli.overview import overview

        click.echo(overview())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    use_our_scripts()
    atexit.register(gc.freeze)  # else the interpreter ends by looking for garbage in all that PyTorch imported
    with suppress(AttributeError):  # names of files and words of plugins may hold what UTF-8 cannot
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        words = tuple(sys.argv[1:] if args is None else args)
        code = cli.main(words, prog_name="anymodal", standalone_mode=False, obj=words)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at exit
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except Exception as error:
        if os.environ.get("ANYMODAL_DEBUG") == "1":
            raise
        click.echo(f"error: {_message(error)}", err=True)
        code = 2 if isinstance(error, (AnymodalError, click.ClickException, OSError)) or _lacks_memory(error) else 70
    sys.exit(code if isinstance(code, int) else 0)


def _message(error: Exception) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text = f"{error.format_message().rstrip('.')}; see: {error.ctx.command_path} --help"
    elif isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, AnymodalError):
        text = str(error)
    elif isinstance(error, OSError):
        text = legible(system_message(error))
    elif _lacks_memory(error):
        text = f"there is not enough memory ({one_line(error, 200)}); ask for less at once, such as smaller batches"
    else:
        text = f"unexpected {type(error).__name__}: {error}; ANYMODAL_DEBUG=1 shows where it comes from"
    return one_line(text)


def _lacks_memory(error: Exception) -> bool:
    """Whether it is an error of Python, or of PyTorch on a GPU or a CPU, for want of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
