"""`anymodal train-tokenizer`: the tokenizer of one modality, or the text vocabulary."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.cli.options import config_argument, overrides_option, resume_option
from anymodal.cli.output import Output, with_output


@click.command()
@config_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that collects tokenizers.")
@overrides_option
@resume_option
@with_output
def train_tokenizer(output: Output, config: Path, out: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a tokenizer on an aligned folder; it is written to OUT/modalities/NAME or OUT/vocabulary.json.

    \b
    anymodal train-tokenizer recipes/tiny/depth.yaml --out out/tokenizers
    anymodal train-tokenizer recipes/tiny/vocabulary.yaml --out out/tokenizers
    """
    from anymodal.config import load_config
    from anymodal.tokenizers.recipe import TokenizerRun, run

    path = run(load_config(config, TokenizerRun, overrides), out, resume=resume, verbose=True)
    output.line(f"wrote {path}")
    output.data({"path": str(path)})
