"""`anymodal tokenize`: an aligned dataset as a tokenized one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import check_data, check_dataset_folder, check_modalities
from anymodal.cli.jobs import say_made
from anymodal.cli.options import job_options, overrides_option
from anymodal.cli.output import Output, with_output
from anymodal.errors import ConfigError


class Range(click.ParamType):
    """Two numbers with a comma between."""

    name = "range"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[float, float]:
        try:
            low, high = map(float, value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not of the form a,b, such as 0.2,1", parameter, context)
        return low, high


@click.command()
@click.argument("data", shell_complete=completion.files)
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The training configuration to prepare.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@overrides_option
@click.option("--count", type=click.IntRange(min=1), help="Only the first samples of the data.")
@click.option("--crops", type=click.IntRange(min=1), default=1, show_default=True, help="Crops of every sample.")
@click.option(
    "--scale",
    type=Range(),
    metavar="A,B",
    help="Shares of the picture that crops but the first cover.  [default: 0.2,1]",
)
@click.option(
    "--ratio",
    type=Range(),
    metavar="A,B",
    help="Width by height, in pixels, of crops but the first.  [default: 0.75,1.3333]",
)
@click.option("--flip", is_flag=True, help="Mirror half of the crops but the first.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What crops are drawn from.")
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Values encoded together.")
@job_options(shard_size=1000)
@with_output
def tokenize(
    output: Output,
    data: str,
    config: Path,
    out: Path,
    overrides: tuple[str, ...],
    count: int | None,
    crops: int,
    seed: int,
    batch: int,
    run: dict[str, Any],
    **given: Any,
) -> None:
    """Tokenize the dataset DATA with the modalities and tokenizers of a training configuration.

    The same command goes on with an interrupted run; modalities that the configuration gains are added.

    \b
    anymodal tokenize data --config model.yaml --out tokens
    anymodal tokenize data --config model.yaml --out tokens --crops 10 --scale 0.2,1 --flip --workers 8
    """
    from functools import partial

    drawn = {name: value for name, value in given.items() if value}
    if drawn and crops == 1:
        raise ConfigError(f"--{next(iter(drawn))} is of crops but the first, and there is one: say how many by --crops")
    from anymodal.config import load_config
    from anymodal.data.crops import Crops
    from anymodal.data.jobs.tokenize import tokenize_dataset
    from anymodal.training.multimodal.config import TrainConfig, build_set, check_tokenizers

    settings = load_config(config, TrainConfig, overrides)
    check_tokenizers(settings.tokenizers)
    check_modalities(settings.modalities)
    check_data(data)
    check_dataset_folder(out)
    summary = tokenize_dataset(
        data,
        partial(build_set, settings.modalities, settings.tokenizers),
        out,
        crops=Crops(crops, seed=seed, **drawn),
        count=count,
        batch=batch,
        **run,
    )
    say_made(output, summary, out)
    if summary is not None:
        output.next(f"anymodal train {config} --set data={out} --out run")
