"""What a command prints and where: data to stdout, everything else to stderr.

A command says all it has to say, for programs (`data`) and for people (`table`, `line`); the flag `--json` decides
which of the two is printed. Tables are drawn when a person looks and are tab-separated in a pipe.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from anymodal.progress import shown

if TYPE_CHECKING:
    from rich.table import Table

PROSE = 10  # the narrowest column of text that can be read


class Output:
    """The one way out of a command; `as_json` is its flag `--json`.

    Of the processes that torchrun starts, only the first one prints results.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._result = _own_stdout() if as_json else None
        self.silent = os.environ.get("RANK", "0") != "0"

    def data(self, value: Mapping[str, Any]) -> None:
        """Print the result for programs: one JSON object, once in a command; nothing without `--json`."""
        if self.as_json and not self.silent:
            click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False), self._result)

    def line(self, text: str) -> None:
        """Print a line of the result for people."""
        if not self.as_json and not self.silent:
            click.echo(text)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table for people: drawn on a terminal, tab-separated lines under a header elsewhere."""
        if self.as_json or self.silent:
            return
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            for row in [list(columns), *cells]:
                click.echo("\t".join(" ".join(cell.split()) for cell in row))
            return
        from rich.console import Console

        console = Console()
        console.print(_drawn(columns, cells, console.width))

    def note(self, text: str) -> None:
        """Tell people something that is not the result, on stderr."""
        click.echo(text, err=True)

    def again(self, *more: str) -> None:
        """Suggest the command that is running, with more words; nothing where a program called it."""
        words = click.get_current_context().find_root().obj
        if isinstance(words, tuple):
            self.next(shlex.join(["anymodal", *words, *more]))

    def next(self, command: str) -> None:
        """Suggest the command that usually comes next, on stderr; only when a person looks."""
        if sys.stderr.isatty() and not self.as_json:
            click.echo(f"next: {command}", err=True)


def _drawn(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Table:
    """A table that cuts nothing off: lines of prose break between words, and names, which have no spaces, do not break.

    Where that is too wide only the first column stays whole.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(*columns, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for row in cells:
        drawn.add_row(*map(escape, row))
    names = [not any(" " in text for text in column) for column in zip(*cells, strict=True)]
    whole = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    needed = sum(length if name else min(length, PROSE) for name, length in zip(names, whole, strict=False))
    fits = needed + 2 * len(whole) - 1 <= width
    for number, column in enumerate(drawn.columns):
        column.overflow = "fold"
        column.no_wrap = bool(names) and (names[number] if fits else number == 0 and whole[0] <= width // 2)
    return drawn


def _own_stdout() -> TextIO | None:
    """The standard output for one JSON object alone; whatever else the process prints goes to stderr from now on.

    None where it is not the one that the process was started with.
    """
    if sys.stdout is not sys.__stdout__ or sys.stdout is None:
        return None
    sys.stdout.flush()
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def with_output(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags `--json` and `--quiet`, and an `Output` as its first argument."""

    @click.option("--quiet", is_flag=True, help="Show no progress.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
    @functools.wraps(function)
    def command(*arguments: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        with shown("quiet" if quiet else None):
            return function(Output(as_json), *arguments, **options)

    return command


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, type(None))) else str(value)
