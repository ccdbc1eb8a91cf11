"""`anymodal generate`: some modalities from others."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.output import Output, with_output
from anymodal.errors import ConfigError, DataError, GenerationError, ValueProblem, one_line, system_errors
from anymodal.sampling import SamplingOptions

LONGEST = 200  # characters of a value that are shown


@click.command()
@click.argument("inputs", nargs=-1, metavar="NAME=VALUE...", shell_complete=completion.inputs)
@click.option(
    "--to",
    "targets",
    required=True,
    shell_complete=completion.targets,
    help="Modalities to generate, with commas between, or all.",
)
@click.option(
    "--model",
    default="tiny",
    show_default=True,
    shell_complete=completion.models,
    help="A preset, folder, file or repository on the Hub.",
)
@click.option("--revision", help="Branch, tag or commit of a repository.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the values, grid.png and tokens.safetensors.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same result."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME.OPTION=VALUE",
    shell_complete=completion.settings,
    help="A sampling option of one target.",
)
@click.option(
    "--truth",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completion.inputs,
    help="True values for a second row of grid.png.",
)
@with_output
def generate(
    output: Output,
    inputs: tuple[str, ...],
    targets: str,
    model: str,
    revision: str | None,
    out: Path | None,
    seed: int,
    settings: tuple[str, ...],
    truth: tuple[str, ...],
) -> None:
    """Generate modalities from NAME=VALUE inputs: files, or text for modalities that are text.

    \b
    anymodal generate rgb=photo.jpg --to all --out out/
    anymodal generate caption="a red car on a road" --to rgb,depth --set rgb.steps=16 --seed 7
    """
    given = dict(_pair(text, "an input") for text in inputs)
    if len(given) < len(inputs):
        raise ConfigError("an input is given twice; give each modality once")
    options = _options(settings)
    names = "all" if targets == "all" else [t.strip() for t in targets.split(",") if t.strip()]
    if out is not None:
        _check_folder(out)

    from anymodal.anymodel import load

    began = time.perf_counter()
    loaded = load(model, revision=revision)
    values = {name: _value(loaded, name, text) for name, text in given.items()}
    known = loaded.accept({n: _value(loaded, n, t) for n, t in dict(_pair(t, "a truth") for t in truth).items()})
    ready = time.perf_counter()
    if not names:
        raise GenerationError("--to names no modality; give names with commas between, or all")
    wanted = loaded.modalities.targets if names == "all" else names
    with output.progress(len(wanted), "generating") as advance:
        result = loaded.generate(
            values,
            names,
            seed=seed,
            options=options,
            progress=lambda step: advance(int(step.done), f"{step.target} {step.step}/{step.total}"),
        )
    done = time.perf_counter()
    paths = result.save(out, known) if out is not None else []
    for name in result:
        output.line(f"{name}: {brief(result[name])}")
    if paths:
        output.line(f"wrote {', '.join(p.name for p in paths)} to {out}")
    output.data(
        {
            "values": {name: brief(result[name]) for name in result},
            "files": {p.stem: str(p) for p in paths},
            "seconds": {"load": round(ready - began, 3), "generate": round(done - ready, 3)},
        }
    )


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"{text!r} is not {what} of the form NAME=VALUE, such as rgb=photo.jpg")
    return name, value


def _value(model: Any, name: str, text: str) -> Any:
    """Text for modalities of the text family, unless it names a text file that exists; a file for all others."""
    if model.modalities[name].family != "text":
        return Path(text)
    path = Path(text) if len(text) < 1000 and "\n" not in text else None
    if path is not None and path.suffix.lower() in model.modalities[name].suffixes:
        return path
    if not text.strip():
        raise ValueProblem(f"{name} is empty; give some text")
    return text


def _options(settings: tuple[str, ...]) -> dict[str, SamplingOptions]:
    from anymodal.config import parse_yaml

    options: dict[str, Any] = {}  # names and values are checked with the plan
    for text in settings:
        place, equals, value = text.partition("=")
        name, dot, option = place.partition(".")
        if not (equals and dot and option):
            raise ConfigError(f"{text!r} is not of the form NAME.OPTION=VALUE, such as depth.steps=8")
        try:
            options.setdefault(name, {})[option] = parse_yaml(value)
        except ConfigError as error:
            raise ConfigError(f"the value of {text!r} cannot be read: {error}") from None
    return options


def _check_folder(out: Path) -> None:
    """Fail before the work rather than after it."""
    import os

    with system_errors(DataError, f"cannot write into {out}"):
        existing = next(p for p in [out, *out.absolute().parents] if p.exists())
        if not existing.is_dir():
            raise DataError(f"cannot write into {out}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(f"cannot write into {out}: no permission to write in {existing}")


def brief(value: Any) -> str:
    """One line about a value: text itself, else its type and shape, or how many parts it has."""
    if isinstance(value, str):
        return value
    if shape := getattr(value, "shape", None):
        return f"{getattr(value, 'dtype', type(value).__name__)} {' x '.join(map(str, shape))}"
    line = one_line(value)
    return f"{len(value)} x {type(value[0]).__name__}" if isinstance(value, list) and len(line) > LONGEST else line
