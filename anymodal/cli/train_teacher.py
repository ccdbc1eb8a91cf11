"""`anymodal train-teacher`: a small network that learns features from an aligned folder alone."""

from __future__ import annotations

import click

from anymodal.cli.output import Output, with_output
from anymodal.cli.request import Request, say_written, training_options


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
    from anymodal.training.teachers.run import TeacherRun
    from anymodal.training.teachers.run import train_teacher as run

    request.carry_out(output, TeacherRun, run, say_written)
