"""The commands of the command line, those of groups by all of their words."""

from __future__ import annotations

from collections.abc import Iterator

import click


def leaves(words: list[str], command: click.Command) -> Iterator[tuple[list[str], click.Command]]:
    """Every command that is no group, with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from leaves([*words, name], inner)
    else:
        yield words, command
