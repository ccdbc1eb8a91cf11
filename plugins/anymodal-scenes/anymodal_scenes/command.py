"""`anymodal scenes`: render scenes into a folder of files."""

from __future__ import annotations

import time
from pathlib import Path

import click

from anymodal.cli import Output, with_output
from anymodal.errors import DataError, cause, counted
from anymodal.hookspecs import hookimpl
from anymodal.progress import task


@hookimpl
def anymodal_commands(cli: click.Group) -> None:
    cli.add_command(scenes)


@click.command()
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many scenes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which world the scenes come from."
)
@click.option("--size", type=click.IntRange(16, 512), default=64, show_default=True, help="Pixels on a side.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one for each core.")
@click.option(
    "--kinds", help="Kinds of things that may occur, with commas between; basic is a small world. Default: all."
)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first scene.")
@with_output
def scenes(
    output: Output, count: int, out: Path, seed: int, size: int, workers: int | None, kinds: str | None, start: int
) -> None:
    """Render scenes with exact labels; a scene is a function of seed and index, and existing ones are kept.

    \b
    anymodal scenes --count 100 --out out/scenes
    anymodal scenes --count 50000 --out out/train --seed 1 --size 96 --workers 8
    """
    from anymodal_scenes import BASIC, write

    names = BASIC if kinds == "basic" else [name.strip() for name in kinds.split(",")] if kinds else None
    began = time.perf_counter()
    try:
        with task("scenes", count) as now:
            write(out, count, seed, size, workers, start, now.advance, names)
    except OSError as error:
        raise DataError(
            f"cannot write scenes to {str(out)!r}: {cause(error)}; choose another folder for --out"
        ) from error
    seconds = time.perf_counter() - began
    output.line(f"{counted(count, 'scene')} of {size} pixels in {out} ({seconds:.1f} s)")
    output.data({"out": out, "count": count, "start": start, "seed": seed, "size": size, "seconds": round(seconds, 3)})
    output.next(f"anymodal data check {out} --sheet scenes.png")
