"""`anymodal label`: pictures as an aligned multimodal dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import check_data, check_dataset_folder
from anymodal.cli.jobs import say_made
from anymodal.cli.options import job_options
from anymodal.cli.output import Output, with_output


@click.command()
@click.argument("data", shell_complete=completion.files)
@click.option(
    "--with",
    "labelers",
    multiple=True,
    required=True,
    metavar="NAME[=CHECKPOINT]",
    shell_complete=completion.labelers,
    help="A labeler, or a modality that one makes; may be given several times.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="MODALITY.SETTING=VALUE",
    help="A setting of a modality, as in depth.high=80.",
)
@click.option(
    "--layout",
    type=click.Choice(["tars", "folder"]),
    default="tars",
    show_default=True,
    help="Sharded tars, or a file a sample.",
)
@click.option("--count", type=click.IntRange(min=1), help="Only the first pictures of the data.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Samples labeled together.")
@job_options(shard_size=1000)
@with_output
def label(
    output: Output,
    data: str,
    labelers: tuple[str, ...],
    out: Path,
    settings: tuple[str, ...],
    layout: str,
    count: int | None,
    batch: int,
    run: dict[str, Any],
) -> None:
    """Label the pictures of DATA: a folder of pictures, or an aligned dataset of folders or tars.

    Labelers whose sources others make come after them. The same command goes on with an interrupted run; with other
    labelers it adds their modalities.

    \b
    anymodal label photos --with canny_edge --with color_palette --out labeled
    anymodal label photos --with depth=Intel/zoedepth-nyu --set depth.high=10 --with normal --out labeled
    """
    from anymodal.config import override_values
    from anymodal.data.jobs.label import label_dataset
    from anymodal.errors import ConfigError

    raw: dict[str, Any] = {}
    override_values(raw, settings)
    for name, values in raw.items():
        if not isinstance(values, dict):
            raise ConfigError(f"--set {name}=... names no setting of the modality; write --set {name}.SETTING=VALUE")
    check_data(data)
    check_dataset_folder(out)
    wanted = {name: checkpoint or None for name, _, checkpoint in (each.partition("=") for each in labelers)}
    if len(wanted) < len(labelers):
        raise ConfigError(f"--with names one of {', '.join(wanted)} twice; give each labeler once")
    summary = label_dataset(data, wanted, out, settings=raw, layout=layout, count=count, batch=batch, **run)
    say_made(output, summary, out)
    if summary is not None:
        output.next(f"anymodal tokenize {out} --config CONFIG --out tokens")
