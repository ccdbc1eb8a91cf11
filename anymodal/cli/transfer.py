"""`anymodal transfer`: a model fine-tuned for a task, from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli.output import Output, with_output
from anymodal.cli.request import Request, training_options

if TYPE_CHECKING:
    from anymodal.transfer.tuning.result import Transferred
    from anymodal.transfer.tuning.settings import TransferConfig


@click.command()
@training_options("Folder for checkpoints, log and result.", plans=False)
@with_output
def transfer(output: Output, request: Request) -> None:
    """Fine-tune a model for a task: classes, grids, boxes, or boxes in space.

    The result is written to OUT/model and OUT/head, its scores on held-out data to OUT/metrics.json. Several processes
    train together when torchrun starts them.

    \b
    anymodal recipes copy transfer
    anymodal transfer recipes/transfer/semseg.yaml --out out/semseg
    anymodal transfer recipes/transfer/boxes3d.yaml --out out/boxes3d --set tune=lora --resume
    """
    from anymodal.transfer.tuning.settings import TransferConfig

    request.carry_out(output, TransferConfig, _run, _report)


def _run(config: TransferConfig, out: Path, **how: bool) -> Transferred | None:
    from anymodal.cli.checks import check_data

    for place in [config.data, *([config.held_out.path] if config.held_out else [])]:
        check_data(place)
    from anymodal.transfer.tuning.run import train_transfer

    return train_transfer(config, out, **how)


def _report(output: Output, result: Transferred | None, out: Path) -> None:
    if result is None:
        output.line(f"stopped early; go on with: --out {out} --resume")
        output.data({"result": None, "finished": False, "metrics": {}})
        return
    from anymodal.files import read_object

    metrics = read_object(out / "metrics.json")
    if metrics:
        output.table(["score", "held-out"], [[name, f"{value:.4g}"] for name, value in metrics.items()])
    output.line(f"{result}: {out}")
    output.data({"result": str(out), "finished": True, "metrics": metrics})
    asked = f"am.load_transfer({str(out)!r}).predict({{{result.config.inputs[0]!r}: 'photo.jpg'}})"
    output.next(f'python -c "import anymodal as am; print({asked})"')
