"""`anymodal convert`: checkpoints from one format into another."""

from __future__ import annotations

from pathlib import Path

import click

from anymodal.checkpoints.formats import FORMATS
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import Folder
from anymodal.cli.output import Output, with_output
from anymodal.errors import CheckpointError
from anymodal.files import check_folder


@click.command()
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--vocabulary", type=click.Path(path_type=Path), help="4M's text tokenizer file, instead of fetching it.")
@click.option(
    "--to",
    metavar="FORMAT",
    help="Format to write, such as anymodal or fourm; default: the one SRC is not in.",
)
@with_output
def convert(output: Output, source: Path, target: Path, vocabulary: Path | None, to: str | None) -> None:
    """Convert a checkpoint: a published 4M model or tokenizer into ours, ours into the published format.

    SRC is a folder or a .safetensors file and tells itself which format it has. DST is a folder or, in the published
    format, a .safetensors file.

    \b
    anymodal convert 4M-21_B/ ours/
    anymodal convert ours/ published.safetensors
    anymodal convert 4M-21_B/ 4M-21_B.safetensors --to fourm
    """
    if not source.exists():
        raise CheckpointError(f"no such file or folder: {source}")
    if vocabulary is not None and not vocabulary.exists():
        raise CheckpointError(f"no such file: {vocabulary}")
    if to is not None:
        FORMATS.choose(to)
    if source.is_dir():
        read_raw_config(Folder(source))
    check_folder(target.parent)
    from anymodal.checkpoints.convert import convert as run

    notes = run(source, target, vocabulary, to)
    for note in notes:
        output.note(note)
    output.line(f"wrote {target}")
    output.data({"source": str(source), "target": str(target), "notes": notes})
    output.next(f"anymodal generate rgb=photo.jpg --to all --model {target} --out out/")
