"""`anymodal train`: a model from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli.options import (
    config_argument,
    dry_run_option,
    needed,
    out_option,
    overrides_option,
    print_config_option,
    resume_option,
    show_config,
    world_option,
)
from anymodal.cli.output import Output, with_output

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.training.config import TrainConfig


@click.command()
@config_argument
@out_option("Folder for checkpoints, log and model.")
@overrides_option
@resume_option
@print_config_option
@dry_run_option
@world_option
@with_output
def train(
    output: Output,
    config: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    print_config: bool,
    dry_run: bool,
    world: int,
) -> None:
    """Train a model; the result is written to OUT/model.

    Several processes train together when torchrun starts them. SIGTERM saves and ends the run in good order.

    \b
    anymodal train recipes/tiny/model.yaml --out out/model
    torchrun --nproc-per-node 8 -m anymodal.cli train recipes/tiny/model.yaml --out out/model
    anymodal train recipes/tiny/model.yaml --out out/model --resume --set training.max_minutes=30
    anymodal train recipes/fourm/4m-21-b.yaml --dry-run --world 64
    """
    from anymodal.config import load_config
    from anymodal.training.config import TrainConfig
    from anymodal.training.multimodal import train as run

    plan = load_config(config, TrainConfig, overrides)
    if print_config:
        show_config(output, plan)
    elif dry_run:
        _show_plan(output, plan, world)
    else:
        model = run(plan, needed(out), resume=resume, verbose=True)
        _report(output, model, needed(out))


def _show_plan(output: Output, config: TrainConfig, world: int) -> None:
    from anymodal.training.plan import facts, plan, shown

    made = plan(config, world)
    rows = [
        (s.name, s.tokens, f"{s.width} numbers" if s.ids is None else f"{s.ids} ids", _used(s.input, s.target))
        for s in made.streams
    ]
    output.line(f"{len(made.modalities)} modalities: {', '.join(made.modalities)}")
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
