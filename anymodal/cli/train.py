"""`anymodal train`: a model from a configuration."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.options import config_argument, overrides_option, resume_option
from anymodal.cli.output import Output, with_output


@click.command()
@config_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for checkpoints, log and model.")
@overrides_option
@resume_option
@with_output
def train(output: Output, config: Path, out: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a model on a tokenised dataset; the result is written to OUT/model.

    Several processes train together when torchrun starts them. SIGTERM saves and ends the run in good order.

    \b
    anymodal train recipes/tiny/model.yaml --out out/model
    torchrun --nproc-per-node 8 -m anymodal.cli train recipes/tiny/model.yaml --out out/model
    anymodal train recipes/tiny/model.yaml --out out/model --resume --set training.max_minutes=30
    """
    from anymodal.config import load_config
    from anymodal.training.config import TrainConfig
    from anymodal.training.multimodal import train as run

    model = run(load_config(config, TrainConfig, overrides), out, resume=resume, verbose=True)
    finished = model is not None
    output.line(f"{model}: {out / 'model'}" if finished else f"stopped early; go on with: --out {out} --resume")
    output.data({"model": str(out / "model") if finished else None, "finished": finished})
    if finished:
        output.next(f"anymodal generate rgb=photo.jpg --to all --model {out / 'model'} --out out/")
