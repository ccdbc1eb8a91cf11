"""`anymodal train-teacher`: a small network that learns features from an aligned folder alone."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.options import (
    config_argument,
    needed,
    out_option,
    overrides_option,
    print_config_option,
    resume_option,
    say_written,
    show_config,
)
from anymodal.cli.output import Output, with_output


@click.command()
@config_argument
@out_option("The teacher's folder.")
@overrides_option
@resume_option
@print_config_option
@with_output
def train_teacher(
    output: Output, config: Path, out: Path | None, overrides: tuple[str, ...], resume: bool, print_config: bool
) -> None:
    """Train a teacher on an aligned folder, by pairs of modalities or by views of one.

    \b
    anymodal train-teacher recipes/tiny/teachers/clip.yaml --out out/tiny/teachers/clip
    anymodal train-teacher recipes/tiny/teachers/dinov2.yaml --out out/tiny/teachers/dinov2 --set training.steps=200
    """
    from anymodal.config import load_config
    from anymodal.teachers.train import TeacherRun, run

    plan = load_config(config, TeacherRun, overrides)
    if print_config:
        show_config(output, plan)
        return
    path = run(plan, needed(out), resume=resume, verbose=True)
    say_written(output, path, needed(out))
