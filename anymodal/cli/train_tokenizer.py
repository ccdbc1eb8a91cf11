"""`anymodal train-tokenizer`: the tokenizer of one modality, or the text vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anymodal.cli.output import Output, with_output
from anymodal.cli.request import Request, say_written, training_options

if TYPE_CHECKING:
    from anymodal.training.tokenizers.config import TokenizerRun


@click.command()
@training_options("Folder that collects tokenizers.")
@with_output
def train_tokenizer(output: Output, request: Request) -> None:
    """Train a tokenizer on an aligned folder; it is written to OUT/modalities/NAME or OUT/vocabulary.json.

    \b
    anymodal recipes copy tiny
    anymodal train-tokenizer recipes/tiny/depth.yaml --out out/tokenizers
    anymodal train-tokenizer recipes/tiny/vocabulary.yaml --out out/tokenizers
    """
    from anymodal.training.tokenizers.config import TokenizerRun

    request.carry_out(output, TokenizerRun, _run, _report, _show_plan)


def _report(output: Output, path: Path | None, out: Path) -> None:
    say_written(output, path, out)
    if path is not None:
        output.next(f"anymodal tokenize DATA --config model.yaml --set tokenizers={out} --out tokens")


def _run(config: TokenizerRun, out: Path, **how: bool) -> Path | None:
    from anymodal.cli.checks import check_data, check_modalities

    check_modalities([config.modality])
    check_data(config.data)
    from anymodal.training.tokenizers.recipe import train_tokenizer as run

    return run(config, out, **how)


def _show_plan(output: Output, config: TokenizerRun, world: int) -> None:
    from anymodal.training.multimodal.estimate import facts
    from anymodal.training.tokenizers.estimate import plan_tokenizer, shown_tokenizer

    made = plan_tokenizer(config, world)
    for line in shown_tokenizer(made):
        output.line(line)
    output.data(facts(made))
