"""`anymodal generate`: some modalities from others, of one sample or of many."""

from __future__ import annotations

import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import (
    Known,
    check_conditions,
    check_dataset_folder,
    check_device,
    check_outputs_folder,
    check_sampling,
    check_starts,
    check_targets,
    check_truths,
    needed,
)
from anymodal.cli.jobs import say_made
from anymodal.cli.live import Live, drawing_for
from anymodal.cli.model_options import comma_separated, generation_options, load_options, part_options
from anymodal.cli.options import job_options
from anymodal.cli.output import Output, with_output
from anymodal.cli.pairs import PAIR, pairs
from anymodal.cli.watching import Animation, Explained, Watch, sentence, watch_options
from anymodal.errors import ConfigError, one_line
from anymodal.progress import shown
from anymodal.sampling.guidance import check_guides

if TYPE_CHECKING:
    from anymodal.cli.inputs import Given

LONGEST = 200  # characters of a value that are shown


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...", shell_complete=completion.inputs)
@click.option(
    "--to",
    "targets",
    required=True,
    shell_complete=completion.targets,
    help="Modalities to generate, with commas between, or all; all,-clip leaves out.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the values.")
@click.option(
    "--truth",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completion.inputs,
    help="True values for a second row of grid.png.",
)
@part_options
@watch_options
@load_options
@generation_options
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Samples generated together, of many."
)
@job_options(shard_size=64)
@with_output
def generate(
    output: Output,
    inputs: tuple[str, ...],
    targets: str,
    model: str,
    out: Path | None,
    truth: tuple[str, ...],
    parts: dict[str, Any],
    watch: Watch,
    batch: int,
    load: dict[str, Any],
    how: dict[str, Any],
    run: dict[str, Any],
) -> None:
    """Generate modalities from inputs: files, or text for modalities that are text.

    An INPUT is NAME=VALUE, a file or text; of one sample, OUT gets a file for each value, grid.png and
    tokens.safetensors. Files, folders, patterns such as 'photos/*.jpg', lists of files (@list.txt, or - for the
    standard input) are pictures, or of a modality as NAME=PATTERN: OUT becomes an aligned folder, and the same command
    goes on with an interrupted run.

    \b
    anymodal generate rgb=photo.jpg --to all --out out/
    anymodal generate caption="a red car on a road" --to rgb,depth --set rgb.steps=16 --seed 7
    anymodal generate 'photos/*.jpg' --to depth,caption --out out/
    anymodal generate rgb=photo.jpg --to rgb --keep rgb=mask.png --out out/
    anymodal generate caption="a ___ car on a ___" --to caption --keep caption
    anymodal generate rgb=photo.jpg --to caption --start caption="a photograph of"
    anymodal generate rgb=photo.jpg --to depth --size input --out out/
    anymodal generate photos/ --to rgb --keep rgb=masks/ --out out/
    find photos -name '*.jpg' | anymodal generate - --to all,-clip --batch 64 --out out/
    """
    from anymodal.cli.inputs import parse_inputs, starts_of

    check_device(load.get("device"))
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    given = parse_inputs(inputs, known, folder_wanted=out is not None)
    names = comma_separated(targets)
    common: Any = {name: value for name, value in how.items() if name not in ("seed", "chain", "weights", "options")}
    watch.check_alone("size" in parts)
    kept = parts["keep"]
    check_conditions(how["weights"] or {}, kept, given.names, many=bool(given.files))
    check_targets(names, given.names - set(kept), how["options"], known)
    check_starts(parts["start"], names, kept, "size" in parts)
    parts["start"] = starts_of(parts["start"], known)
    check_sampling(common)
    check_guides(how["weights"], common, how["options"])
    if out is not None:
        check_dataset_folder(out) if given.files else check_outputs_folder(out, given.values)
    if not given.files:
        true = _truths(truth, names, given, known)
        only = {"modalities": load.get("modalities") or needed(names, [*given.values, *true])}
        _generate_one(output, given, true, names, model, load | only, out, how | parts, watch)
        return
    for option, value in {"truth": truth, **watch.asked, "size": "size" in parts}.items():
        if value:
            raise ConfigError(f"--{option} is for one sample; {_way_to_one(inputs, known)}")
    if out is None:
        raise ConfigError("many inputs make a folder: say which with --out")
    _generate_many(output, given, names, model, load, out, how | {"common": common}, parts, batch, run)


def _truths(words: tuple[str, ...], names: list[str], given: Given, known: Known) -> dict[str, Any]:
    """True values by name, of words NAME=VALUE. Raises AnymodalError."""
    from anymodal.cli.inputs import value_of

    told = pairs(words, "a truth")
    check_truths(told, names, given.names)
    return {name: value_of(name, text, known) for name, text in told.items()}


def _way_to_one(words: tuple[str, ...], known: Known) -> str:
    """What to do where inputs are those of many samples, as a file without a name is, and one is wanted."""
    from anymodal.data.files.words import is_many

    if len(words) == 1 and not is_many(words[0]) and not PAIR.fullmatch(words[0]):
        named = shlex.quote(f"{known.pictures()}={words[0]}")
        return f"a file without a name makes a folder for many: write {named}"
    return "leave it out for many"


def _generate_many(
    output: Output,
    given: Given,
    names: list[str],
    model: str,
    load: dict[str, Any],
    out: Path,
    how: dict[str, Any],
    parts: dict[str, Any],
    batch: int,
    run: dict[str, Any],
) -> None:
    """Generate from files into an aligned folder."""
    from anymodal.cli.masks import masks_of
    from anymodal.data.jobs.generate import Request, generate_dataset
    from anymodal.data.jobs.model_source import ModelSource

    kept, masks = masks_of(parts["keep"], given.files)
    asked = Request(
        tuple(names), how["seed"], how["weights"], how["options"], how["common"], how["chain"], kept, parts["start"]
    )
    source = ModelSource(model, load)
    made = generate_dataset(source, given.files, asked, out, texts=given.texts, masks=masks, batch=batch, **run)
    say_made(output, made, out)
    if made is not None:
        output.next(f"anymodal data check {out}")


def _generate_one(
    output: Output,
    given: Given,
    truth: dict[str, Any],
    names: list[str],
    model: str,
    load: dict[str, Any],
    out: Path | None,
    how: dict[str, Any],
    watch: Watch,
) -> None:
    """Generate from the values of one sample, say what came out, and save it."""
    from anymodal.anymodel import load as load_model
    from anymodal.generation.plan import chosen_targets
    from anymodal.outputs.folder import TAKEN

    began = time.perf_counter()
    loaded = load_model(model, **load)
    known = loaded.accept(truth)
    wanted = chosen_targets(loaded.modalities, names, [name for name in given.values if name not in how["keep"]])
    ready = time.perf_counter()
    explained, animation = Explained(), Animation(loaded.modalities)
    drawing = drawing_for(sys.stdout, os.environ) if watch.live and not output.as_json else None
    live = [] if drawing is None else [Live(loaded.modalities, drawing)]
    watching = [*([explained] if watch.explain else []), *([animation] if watch.animate else []), *live]
    with shown("quiet" if live else None):  # a bar would be drawn over the picture
        result = loaded.generate(given.values, wanted, progress=partial(_tell, watching), **how)
    done = time.perf_counter()
    paths = result.save(out, known) if out is not None else []
    if watch.animate and animation.frames:
        animation.save(watch.animate)
    assert result.run is not None
    seen = [name for name in given.values if name not in how["keep"]]
    told = explained.table(result.run, seen) if watch.explain else []
    for row in told:
        output.line(sentence(row))
    for name in result:
        output.line(f"{name}: {brief(result[name])}")
    if out is not None:
        output.line(f"wrote {', '.join(p.relative_to(out).as_posix() for p in paths)} to {out}")
        output.next(f"anymodal repeat {out}")
    else:
        output.again("--out", "out/")
    output.data(
        {
            "values": {name: brief(result[name]) for name in result},
            # What was made comes last, so that it has its name where it was given in part, too.
            "files": {p.stem.removesuffix(TAKEN): str(p) for p in sorted(paths, key=lambda path: path.parent == out)},
            **({"plan": told} if watch.explain else {}),
            "seconds": {"load": round(ready - began, 3), "generate": round(done - ready, 3)},
        }
    )


def _tell(watching: list[Any], step: Any) -> None:
    for each in watching:
        each(step)


def brief(value: Any) -> str:
    """One line about a value: text itself, else its type and shape, or how many parts it has."""
    if isinstance(value, str):
        return value
    if shape := getattr(value, "shape", None):
        return f"{getattr(value, 'dtype', type(value).__name__)} {' x '.join(map(str, shape))}"
    line = one_line(value)
    return f"{len(value)} x {type(value[0]).__name__}" if isinstance(value, list) and len(line) > LONGEST else line
