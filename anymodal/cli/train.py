"""`anymodal train`: a model from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli.output import Output, with_output
from anymodal.cli.request import Request, training_options
from anymodal.errors import counted

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.training.multimodal.config import TrainConfig


@click.command()
@training_options("Folder for checkpoints, log and model.")
@with_output
def train(output: Output, request: Request) -> None:
    """Train a model; the result is written to OUT/model.

    Several processes train together when torchrun starts them. SIGTERM saves and ends the run in good order.

    \b
    anymodal recipes copy tiny
    anymodal train recipes/tiny/model.yaml --out out/model
    torchrun --nproc-per-node 8 -m anymodal train recipes/tiny/model.yaml --out out/model
    anymodal train recipes/tiny/model.yaml --out out/model --resume --set training.max_minutes=30
    anymodal train recipes/tiny/model.yaml --dry-run --world 64
    """
    from anymodal.training.multimodal.config import TrainConfig

    request.carry_out(output, TrainConfig, _run, _report, _show_plan, _complete)


def _complete(config: TrainConfig) -> TrainConfig:
    from anymodal.training.multimodal.warm_start import completed

    return completed(config)


def _run(config: TrainConfig, out: Path, **how: bool) -> AnyModel | None:
    from anymodal.cli.checks import check_data, check_modalities
    from anymodal.training.multimodal.config import check_tokenizers

    check_modalities(config.modalities)
    check_tokenizers(config.tokenizers)
    for data in config.data:
        check_data(data.path)
    from anymodal.training.multimodal.run import train as run

    return run(config, out, **how)


def _show_plan(output: Output, config: TrainConfig, world: int) -> None:
    from anymodal.training.multimodal.estimate import facts, plan, shown

    made = plan(config, world)
    rows = [
        (s.name, s.tokens, f"{s.width} numbers" if s.ids is None else f"{s.ids} ids", _used(s.input, s.target))
        for s in made.streams
    ]
    output.line(f"{counted(len(made.modalities), 'modality')}: {', '.join(made.modalities)}")
    output.table(["stream", "tokens", "of", "used as"], rows)
    for line in shown(made):
        output.line(line)
    output.data(facts(made))


def _used(read: bool, written: bool) -> str:
    return " and ".join(way for way, used in (("input", read), ("target", written)) if used)


def _report(output: Output, model: AnyModel | None, out: Path) -> None:
    finished = model is not None
    output.line(f"{model}: {out / 'model'}" if finished else f"stopped early; go on with: --out {out} --resume")
    output.data({"model": str(out / "model") if finished else None, "finished": finished})
    if finished:
        output.next(f"anymodal generate rgb=photo.jpg --to all --model {out / 'model'} --out out/")
