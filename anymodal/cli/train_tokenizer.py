"""`anymodal train-tokenizer`: the tokenizer of one modality, or the text vocabulary."""

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
    say_written,
    show_config,
    world_option,
)
from anymodal.cli.output import Output, with_output

if TYPE_CHECKING:
    from anymodal.tokenizers.recipe import TokenizerRun


@click.command()
@config_argument
@out_option("Folder that collects tokenizers.")
@overrides_option
@resume_option
@print_config_option
@dry_run_option
@world_option
@with_output
def train_tokenizer(
    output: Output,
    config: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    print_config: bool,
    dry_run: bool,
    world: int,
) -> None:
    """Train a tokenizer on an aligned folder; it is written to OUT/modalities/NAME or OUT/vocabulary.json.

    \b
    anymodal train-tokenizer recipes/tiny/depth.yaml --out out/tokenizers
    anymodal train-tokenizer recipes/tiny/vocabulary.yaml --out out/tokenizers
    """
    from anymodal.config import load_config
    from anymodal.tokenizers.recipe import TokenizerRun, run

    plan = load_config(config, TokenizerRun, overrides)
    if print_config:
        show_config(output, plan)
    elif dry_run:
        _show_plan(output, plan, world)
    else:
        path = run(plan, needed(out), resume=resume, verbose=True)
        say_written(output, path, needed(out))


def _show_plan(output: Output, config: TokenizerRun, world: int) -> None:
    from anymodal.training.plan import facts
    from anymodal.training.plan_tokenizer import plan_tokenizer, shown_tokenizer

    made = plan_tokenizer(config, world)
    for line in shown_tokenizer(made):
        output.line(line)
    output.data(facts(made))
