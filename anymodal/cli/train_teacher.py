"""`anymodal train-teacher`: a small network that learns features from an aligned folder alone."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.options import config_argument, overrides_option, resume_option
from anymodal.cli.output import Output, with_output


@click.command()
@config_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The teacher's folder.")
@overrides_option
@resume_option
@with_output
def train_teacher(output: Output, config: Path, out: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a teacher on an aligned folder, by pairs of modalities or by views of one.

    \b
    anymodal train-teacher recipes/tiny/teachers/clip.yaml --out out/tiny/teachers/clip
    anymodal train-teacher recipes/tiny/teachers/dinov2.yaml --out out/tiny/teachers/dinov2 --set training.steps=200
    """
    from anymodal.config import load_config
    from anymodal.teachers.train import TeacherRun, run

    path = run(load_config(config, TeacherRun, overrides), out, resume=resume, verbose=True)
    output.line(f"wrote {path}")
    output.data({"path": str(path)})
