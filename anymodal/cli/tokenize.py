"""`anymodal tokenize`: an aligned folder as a tokenised dataset."""

from __future__ import annotations

import os
from pathlib import Path

import click

from anymodal.cli.options import overrides_option
from anymodal.cli.output import Output, with_output


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The training configuration to prepare.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@overrides_option
@click.option("--count", type=click.IntRange(min=1), help="Only the first samples of the folder.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that read files.  [default: cores - 1]")
@with_output
def tokenize(
    output: Output,
    data: Path,
    config: Path,
    out: Path,
    overrides: tuple[str, ...],
    count: int | None,
    workers: int | None,
) -> None:
    """Tokenise the folder DATA with the modalities and tokenizers of a training configuration.

    \b
    anymodal tokenize out/scenes --config recipes/tiny/model.yaml --out out/tokens
    """
    from anymodal.config import load_config
    from anymodal.data.folder import AlignedFolder
    from anymodal.data.tokenized import tokenize_folder
    from anymodal.training.config import TrainConfig, build_set

    settings = load_config(config, TrainConfig, overrides)
    modalities = build_set(settings.modalities, settings.tokenizers)
    workers = (os.cpu_count() or 1) - 1 if workers is None else workers
    folder = AlignedFolder(data, modalities, count)
    done = 0
    with output.progress(len(folder), "tokenising") as advance:

        def progress(so_far: int) -> None:
            nonlocal done
            advance(so_far - done)
            done = so_far

        samples = tokenize_folder(folder, modalities, out, workers=workers, progress=progress)
    output.line(f"{samples} samples in {out}")
    output.data({"samples": samples, "out": str(out)})
