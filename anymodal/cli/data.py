"""`anymodal data`: checking data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli import completion
from anymodal.cli.checks import check_data, check_modalities
from anymodal.cli.options import PngPath, overrides_option
from anymodal.cli.output import Output, with_output
from anymodal.errors import ConfigError, counted
from anymodal.files import check_file

if TYPE_CHECKING:
    from anymodal.data.report import ProblemCounts


@click.group()
def data() -> None:
    """Check data."""


@data.command()
@click.argument("path", metavar="DIR", shell_complete=completion.files)
@click.option("--config", type=click.Path(path_type=Path), help="Only the modalities of a training configuration.")
@overrides_option
@click.option(
    "--name", "names", multiple=True, metavar="MODALITY=FOLDER", help="The folder, or column, of a modality or stream."
)
@click.option("--count", type=click.IntRange(min=1), help="Only the first samples.")
@click.option("--sheet", type=PngPath(), metavar="PNG", help="Draw a few samples with all parts.")
@with_output
def check(
    output: Output,
    path: str,
    config: Path | None,
    overrides: tuple[str, ...],
    names: tuple[str, ...],
    count: int | None,
    sheet: Path | None,
) -> None:
    """Read a whole dataset and say what it holds and what is wrong with it; the exit code is 1 for problems.

    DIR is a folder with a folder for each modality, of files or of sharded tars, an address of such, a tokenized
    dataset, or rows of Hugging Face datasets.

    \b
    anymodal data check out/scenes --sheet scenes.png
    anymodal data check s3://bucket/shards --config model.yaml --count 1000
    anymodal data check published --config model.yaml --name depth=tok_depth@224
    anymodal data check texts.parquet --name caption=text
    """
    from anymodal.data.check import check_dataset

    check_data(path)
    if sheet is not None:
        check_file(sheet)
    if overrides and config is None:
        raise ConfigError("--set is of a configuration: name one with --config")
    folders = dict(map(_pair, names))
    if len(folders) < len(names):
        raise ConfigError(f"--name names one of {', '.join(folders)} twice; give each modality one folder")
    modalities = None
    if config is not None:
        from anymodal.config import load_config
        from anymodal.training.multimodal.config import TrainConfig, build_set

        settings = load_config(config, TrainConfig, overrides)
        check_modalities(settings.modalities)
        modalities = build_set(settings.modalities, settings.tokenizers).modalities
    report = check_dataset(path, modalities, folders, count)
    if sheet is not None:
        from anymodal.data.sheet import write_sheet

        write_sheet(path, sheet, modalities, folders, count)
        output.note(f"a few samples with all their parts: {sheet}")
    output.data(report.as_json(path))
    output.line(
        f"{path}: {counted(report.samples, 'sample')} ({report.kind}), {', '.join(report.notes) or 'all complete'}"
    )
    output.table(["part", "samples", "range"], ([p, n, report.ranges.get(p, "")] for p, n in report.counts.items()))
    if report.tokens:
        columns = ["ids", "usage", "perplexity", "shortest", "mean_length", "longest"]
        rows = ((name, statistics.summary()) for name, statistics in report.tokens.items())
        output.table(["stream", *columns], ([name, *(f"{row[c]:.5g}" for c in columns)] for name, row in rows))
    if len(report.problems):
        _say_problems(output, report.problems)
        raise click.exceptions.Exit(1)
    output.line("no problems")
    made = f"anymodal train {config or 'CONFIG'} --set data={path} --out run"
    output.next(made if report.tokens else f"anymodal tokenize {path} --config {config or 'CONFIG'} --out tokens")


def _say_problems(output: Output, problems: ProblemCounts) -> None:
    for problem in problems:
        output.line(f"{problem.part}: {problem.kind}: {problem.count}")
        for example in problem.examples:
            output.line(f"    {example}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise ConfigError(f"--name {text!r} is not of the form MODALITY=FOLDER")
    return name, folder
