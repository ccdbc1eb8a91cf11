"""`anymodal train-teacher`: a small network that learns features from an aligned folder alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli.output import Output, with_output
from anymodal.cli.request import Request, say_written, training_options

if TYPE_CHECKING:
    from anymodal.training.teachers.config import TeacherRun


@click.command()
@training_options("The teacher's folder.", plans=False)
@with_output
def train_teacher(output: Output, request: Request) -> None:
    """Train a teacher on an aligned folder, by pairs of modalities or by views of one.

    \b
    anymodal recipes copy tiny
    anymodal train-teacher recipes/tiny/teachers/clip.yaml --out out/tiny/teachers/clip
    anymodal train-teacher recipes/tiny/teachers/dinov2.yaml --out out/tiny/teachers/dinov2 --set training.steps=200
    """
    from anymodal.training.teachers.config import TeacherRun

    request.carry_out(output, TeacherRun, _run, _report)


def _report(output: Output, path: Path | None, out: Path) -> None:
    say_written(output, path, out)
    if path is not None:
        output.next(f"anymodal label photos --with LABELER={out} --out labeled")


def _run(config: TeacherRun, out: Path, **how: bool) -> Path | None:
    from anymodal.cli.checks import check_data, check_modalities
    from anymodal.training.teachers.config import check_one_process

    check_one_process(int(os.environ.get("WORLD_SIZE", "1")))
    check_modalities(config.modalities)
    check_data(str(config.data))
    from anymodal.training.teachers.run import train_teacher as run

    return run(config, out, **how)
