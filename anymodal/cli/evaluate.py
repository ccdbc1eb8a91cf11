"""`anymodal eval`: what a model scores at a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import Known, check_device, check_sampling
from anymodal.cli.model_options import SAMPLING_HELP, comma_separated, load_options
from anymodal.cli.options import names_option
from anymodal.cli.output import Output, with_output
from anymodal.cli.pairs import yaml_pairs
from anymodal.errors import ConfigError, DataError, GenerationError, counted
from anymodal.files import check_folder


def list_tasks(output: Output) -> None:
    """Print the tasks with what they need."""
    from anymodal.evaluation.tasks import TASKS

    known = [TASKS[name] for name in TASKS]
    columns = ["task", "what", "data", "license"]
    rows = [[name, cls.description, cls.layout, cls.license] for name, cls in zip(TASKS, known, strict=True)]
    output.table(columns, rows)
    output.data({"tasks": [dict(zip(columns, row, strict=True)) for row in rows]})


def task_settings(task: str, inputs: str | None, options: tuple[str, ...]) -> dict[str, Any]:
    """The block of a task with options, whose values are YAML. Raises ConfigError."""
    given = yaml_pairs(options, "an option of the task", "classes=13")
    if inputs and "inputs" in given:
        raise ConfigError("--from and --option inputs= say the same; give one of them")
    if "name" in given:
        raise ConfigError(f"the task is {task}, the first word; --option name={given['name']!s:.40} names another")
    return {"name": task, **given, **({"inputs": tuple(comma_separated(inputs))} if inputs else {})}


def _sampling(samples: int | None, settings: tuple[str, ...]) -> Any:
    """The sampling options of the target. Raises ConfigError."""
    sampling = yaml_pairs(settings, "a sampling option", "steps=8")
    if samples is not None and "samples" in sampling:
        raise ConfigError(f"--samples {samples} and --set samples= say the same; give one of them")
    sampling |= {} if samples is None else {"samples": samples}
    check_sampling(sampling)
    return sampling


@click.command("eval")
@click.argument("task", required=False, shell_complete=completion.tasks)
@click.argument("data", required=False, type=click.Path(path_type=Path), shell_complete=completion.files)
@click.option("--list", "lists", is_flag=True, help="List the tasks.")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for report.json, report.md and sheet.png.")
@names_option("--from", "inputs", help="Generate from these modalities.  [default: those of the task]")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the task, such as axes.")
@click.option("--count", type=click.IntRange(min=1), help="Only the first samples.")
@click.option("--batch", type=click.IntRange(min=2), default=16, show_default=True, help="Samples generated together.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same result."
)
@click.option("--samples", type=click.IntRange(1, 1000), help="Draws of which each prediction is the mean.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="That share the samples.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="OPTION=VALUE",
    help=f"A sampling option of the target: {', '.join(SAMPLING_HELP)}.",
)
@load_options
@with_output
def evaluate(
    output: Output,
    task: str | None,
    lists: bool,
    data: Path | None,
    inputs: str | None,
    options: tuple[str, ...],
    samples: int | None,
    settings: tuple[str, ...],
    model: str,
    load: dict[str, Any],
    out: Path | None,
    **how: Any,
) -> None:
    """Score a model at TASK, beside what its tokenizer alone reaches, a constant, and shuffled truths.

    DATA is a folder as published; bad samples of it are counted and named. The same command goes on after a stop.

    \b
    anymodal eval --list
    anymodal eval diode_depth diode --model EPFL-VILAB/4M-21_B --out diode-depth
    anymodal eval semseg scenes --model tiny --count 100 --samples 10
    anymodal eval nyu_semseg nyu --option classes=13 --processes 4 --out nyu
    """
    if lists:
        list_tasks(output)
        return
    if task is None or data is None:
        raise click.UsageError("give a task and its data; --list lists the tasks", click.get_current_context())
    from anymodal.evaluation.tasks import TASKS

    check_device(load.get("device"))
    chosen = TASKS(task_settings(task, inputs, options))
    sampling = _sampling(samples, settings)
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    for name in (*chosen.inputs, chosen.target):
        known.check(name)
    if chosen.target in chosen.inputs:
        raise GenerationError(f"{chosen.target!r} is both an input and the target")
    if not data.is_dir():
        raise DataError(f"no such folder: {data}")
    if out is not None:
        check_folder(out)
    from anymodal.data.jobs.model_source import ModelSource
    from anymodal.evaluation.run import evaluate as run

    found = run(chosen, data, ModelSource(model, load), out=out, **how, **sampling)
    columns = list(found.scores)
    names = list(dict.fromkeys(name for each in found.scores.values() for name in each))
    cells = [[name, *(_cell(found.scores[column].get(name)) for column in columns)] for name in names]
    output.table(["score", *columns], cells)
    for note in found.notes:
        output.note(note)
    for each in found.problems:
        output.note(f"left out: {counted(each.count, 'sample')}, {each.kind}, such as {each.examples[0]}")
    output.data({**found.as_json(), **({"out": str(out)} if out else {})})
    if out is None:
        output.again("--out", f"{task}-report")
    else:
        output.next("anymodal eval --list")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
