"""What TAB completes: modalities, labelers, presets, recipes and files; imports no plugin.

The scripts for the shells are those of click, with a line of each changed: no space follows what ends in `=`, and a
comma may stand in what is completed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from anymodal.included import recipes as known_recipes
from anymodal.plugins.directory import directory
from anymodal.plugins.registry import registry

CHANGES = {
    BashComplete: (
        "COMPREPLY+=($value)",
        'COMPREPLY+=("$value"); [[ $value == *= ]] && compopt -o nospace',
    ),
    ZshComplete: (
        "compadd -U -V unsorted -a completions",
        "[[ $completions[1] == *= ]] && compadd -U -S '' -V unsorted -a completions"
        " || compadd -U -V unsorted -a completions",
    ),
    FishComplete: ('string split "," $completion', 'string split -m 1 "," $completion'),
}


def use_our_scripts() -> None:
    """Let click print its scripts with our changes."""
    for shell, (old, new) in CHANGES.items():
        add_completion_class(_changed(shell, old, new))


def _changed(shell: type[ShellComplete], old: str, new: str) -> type[ShellComplete]:
    return type(shell.__name__, (shell,), {"source_template": shell.source_template.replace(old, new)})


def modalities(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of modalities, the last one of a list with commas."""
    return _names(registry().modalities(), typed, commas=True)


def targets(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """As `modalities`, and `all`."""
    return _names([*registry().modalities(), "all"], typed, commas=True)


def inputs(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """NAME= for each modality, and files behind it. Bash takes `=` for the end of a word, others do not."""
    given = context.params.get(parameter.name or "") or ()
    name, equals, start = typed.rpartition("=")
    if equals or (given and given[-1] == "="):
        return [CompletionItem(f"{name}{equals}{path}") for path in _paths(start)]
    return _names([f"{each}=" for each in registry().modalities()], typed)


def settings(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """NAME. for each modality, before an option of it."""
    return _names([f"{each}." for each in registry().modalities()], typed)


def labelers(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of labelers."""
    return _names(registry().labelers(), typed)


def models(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Presets, and files and folders."""
    from anymodal.checkpoints.presets import presets

    return _names(presets(), typed) or files(context, parameter, typed)


def recipes(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of recipes."""
    return _names(known_recipes(), typed)


def tasks(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of tasks that are evaluated."""
    from anymodal.evaluation.tasks import TASKS

    return _names(TASKS, typed)


def executors(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of executors of jobs."""
    from anymodal.data.jobs.executors import EXECUTORS

    return _names(EXECUTORS, typed)


def plugins(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of modalities, and folders."""
    return _names(registry().modalities(), typed) or files(context, parameter, typed)


def installable(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of this project's plugins that are not installed, without the word that all begin with, and files."""
    short = {name.removeprefix("anymodal-").replace("-", "_") for name in directory()}
    missing = sorted(short - set(registry().modalities()) - {c.provides for c in registry().candidates()})
    return _names(missing, typed) or files(context, parameter, typed)


def files(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Files and folders, as the shell completes them."""
    return [CompletionItem(typed, type="file")]


def _names(known: Iterable[str], typed: str, *, commas: bool = False) -> list[CompletionItem]:
    before, comma, start = typed.rpartition(",") if commas else ("", "", typed)
    taken = set(before.split(","))
    return [CompletionItem(f"{before}{comma}{name}") for name in known if name.startswith(start) and name not in taken]


def _paths(start: str) -> list[str]:
    """Files and folders whose path begins so; folders end in a slash."""
    found = sorted(glob.glob(f"{glob.escape(os.path.expanduser(start))}*"))  # noqa: PTH111, PTH207
    return [path + "/" * os.path.isdir(path) for path in found]  # noqa: PTH112
