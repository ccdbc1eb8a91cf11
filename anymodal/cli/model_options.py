"""Options of commands that load a model and generate: one for every argument of `anymodal.load` and of sampling."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from anymodal.cli import completion
from anymodal.cli.options import names_option, with_options
from anymodal.cli.pairs import pairs
from anymodal.config.validators import real
from anymodal.errors import ConfigError
from anymodal.sampling import Sampling, SamplingOptions
from anymodal.sampling.guidance import Constant, as_guidance

PLACE = click.Path(path_type=Path)
LOAD_OPTIONS = {
    "model": click.option(
        "--model",
        default="tiny",
        show_default=True,
        shell_complete=completion.models,
        help="A preset, folder, file or repository on the Hub.",
    ),
    "revision": click.option("--revision", help="Branch, tag or commit of a repository."),
    "modalities": names_option("--modalities", help="Load these modalities alone, with commas between."),
    "dtype": click.option(
        "--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help="Type of the weights."
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["auto", "bfloat16", "float32"]),
        help="Of products in generation.  [default: auto, what the device does fast]",
    ),
    "device": click.option("--device", help="Such as cpu, cuda or cuda:1.  [default: the first GPU, if there is one]"),
    "cache_dir": click.option("--cache-dir", type=PLACE, help="Where files from the Hub are kept."),
    "local_files_only": click.option(
        "--local-files-only", is_flag=True, help="Do not ask the Hub; use what is in the cache."
    ),
    "token": click.option(
        "--token", help="A token for the Hub; better set HF_TOKEN, which no list of processes shows."
    ),
    "tokenizers": click.option(
        "--tokenizers", help="Where published tokenizers are: a folder, or NAME=PLACE,NAME=PLACE."
    ),
    "vocabulary": click.option("--vocabulary", type=PLACE, help="4M's text tokenizer file, instead of fetching it."),
    "backend": click.option(
        "--backend", type=click.Choice(["torch", "onnx"]), help="What runs it; by default what its files are for."
    ),
}
PLACES = ("device", "cache_dir", "local_files_only", "token", "tokenizers", "vocabulary")  # where its parts are
OF_WHOLE_MODELS = ("revision", "dtype", *PLACES)
GENERATION_OPTIONS = (
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same result."
    ),
    click.option("--chain/--no-chain", default=None, help="Each target from those before it too, or not."),
    click.option("--weights", metavar="NAME=NUMBER,..", help="Guide by several inputs: rgb=1,caption=2.5."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME.OPTION=VALUE",
        shell_complete=completion.settings,
        help="A sampling option of one target.",
    ),
)
PART_OPTIONS = (
    click.option(
        "--keep",
        multiple=True,
        metavar="NAME[=PART]",
        shell_complete=completion.targets,
        help="What stays of a target that is an input too: a mask (rgb=mask.png), of many pictures a folder or"
        " pattern of masks with their names (rgb=masks/), all that is given (caption), or parts (det=0,2).",
    ),
    click.option(
        "--start",
        multiple=True,
        metavar="NAME=VALUE",
        shell_complete=completion.inputs,
        help='What a sequence begins with: words (caption="a red"), a file (det=first.json), or in braces'
        " ('sam_instance={boxes: [[0.1, 0.1, 0.9, 0.9]]}').",
    ),
    click.option("--size", metavar="WIDTHxHEIGHT", help="Larger pictures, in tiles; input for the size of the input."),
    click.option(
        "--overlap",
        type=float,
        help="The least share of a tile that its neighbors have too, rounded up to whole tokens.  [default: 0.25]",
    ),
)
SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
SAMPLING_HELP = {
    "scheme": "Grids: roar, maskgit, halton, entropy, remask, corrector or mean; texts: autoregressive or beam.",
    "steps": "Forward passes of a grid.",
    "schedule": "How many tokens each step decides: linear or cosine.",
    "temperature": "0 takes the most likely token.",
    "anneal": "The course of the temperature: constant, linear, onex:MINIMUM:POWER or down:MINIMUM.",
    "top_k": "Draw from so many of the most likely tokens.",
    "top_p": "Draw from the most likely tokens of that probability together.",
    "min_p": "Draw from tokens at least so probable as this share of the most likely one.",
    "guidance": "Guidance by the inputs: a number, of which 1 means none, interval:SCALE:LOW:HIGH, or rising:SCALE.",
    "refresh": "Steps of a grid from one full encoding of its inputs to the next; 1 for every step.",
    "views": "Views of what is given, mirrored or moved, of which one value is made: by mean, of texts and boxes.",
    "samples": "Draws of which one value is made.",
    "choose": "An input; of several draws the one stays that makes it most likely.",
}
FILE = re.compile(r"\.[A-Za-z]{3,4}$")  # the name of a mask
TYPES: dict[str, type] = {"int": int, "float": float}


def load_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `anymodal.load`, and pass on the name, and a dict `load` of what was given."""
    return _loading(function, tuple(LOAD_OPTIONS))


def whole_model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`load_options` of a command that has an argument for the model, and writes all of its modalities."""
    return _loading(function, OF_WHOLE_MODELS)


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`load_options` of a command that knows the model, and not where its parts are."""
    return _loading(function, PLACES)


def _loading(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """A command with those options of `anymodal.load`."""

    @functools.wraps(function)
    def command(*arguments: Any, **given: Any) -> Any:
        asked = {name: given.pop(name) for name in names if name != "model"}
        load = {name: value for name, value in asked.items() if value not in (None, False)}
        if "modalities" in load:
            load["modalities"] = comma_separated(load["modalities"])
        if "=" in load.get("tokenizers", ""):
            load["tokenizers"] = pairs(comma_separated(load["tokenizers"]), "a tokenizer")
        return function(*arguments, load=load, **given)

    return with_options(command, tuple(LOAD_OPTIONS[name] for name in names))


def generation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `AnyModel.generate`, and pass on a dict `how` of the arguments that were given."""
    fields = attrs.fields(Sampling)

    @functools.wraps(function)
    def command(
        *arguments: Any, seed: int, chain: bool | None, weights: str | None, settings: tuple[str, ...], **options: Any
    ) -> Any:
        given = {field.name: options.pop(field.name) for field in fields}
        how = {
            "seed": seed,
            "chain": chain,
            "weights": weights_by_name(weights) if weights else None,
            "options": own_options(settings),
            **{name: value for name, value in given.items() if value is not None},
        }
        return function(*arguments, how=how, **options)

    made = tuple(
        click.option(f"--{f.name.replace('_', '-')}", type=TYPES.get(str(f.type), str), help=SAMPLING_HELP[f.name])
        for f in fields
    )
    return with_options(command, (*GENERATION_OPTIONS, *made))


def part_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --keep, --start, --size and --overlap, and pass on a dict `parts` of these of `generate`.

    What sequences begin with is in words, for `anymodal.cli.inputs.starts_of`.
    """

    @functools.wraps(function)
    def command(
        *arguments: Any,
        keep: tuple[str, ...],
        start: tuple[str, ...],
        size: str | None,
        overlap: float | None,
        **options: Any,
    ) -> Any:
        parts = {"keep": kept_by_name(keep), "start": pairs(start, "a start", "caption='a red'")} | tile_options(
            size, overlap
        )
        return function(*arguments, parts=parts, **options)

    return with_options(command, PART_OPTIONS)


def tile_options(size: str | None, overlap: float | None) -> dict[str, Any]:
    """The arguments of `AnyModel.generate` for a picture in tiles. Raises ConfigError."""
    if size is None:
        if overlap is not None:
            raise ConfigError("--overlap is of the tiles of a picture larger than the model's: say its --size")
        return {}
    found = SIZE.fullmatch(size)
    if size != "input" and found is None:
        raise ConfigError(f"--size {size!r:.80} is not WIDTHxHEIGHT, such as 512x384, or input")
    asked: Any = size if found is None else (int(found[1]), int(found[2]))
    return {"size": asked} | ({} if overlap is None else {"overlap": overlap})


def own_options(settings: tuple[str, ...]) -> dict[str, SamplingOptions]:
    """Sampling options of single targets of NAME.OPTION=VALUE words. Raises ConfigError."""
    from anymodal.config import parse_yaml

    options: dict[str, Any] = {}  # names and values are checked with the request
    for text in settings:
        place, equals, value = text.partition("=")
        name, dot, option = place.partition(".")
        if not (equals and dot and option):
            raise ConfigError(f"{text!r} is not of the form NAME.OPTION=VALUE, such as depth.steps=8")
        if option in options.setdefault(name, {}):
            raise ConfigError(f"{place} is given twice; give each option once")
        try:
            options[name][option] = parse_yaml(value)
        except ConfigError as error:
            raise ConfigError(f"the value of {text!r} cannot be read: {error}") from None
    return options


def kept_by_name(words: tuple[str, ...]) -> dict[str, Any]:
    """What is kept, of words NAME (all that is given), NAME=MASK, NAME=MASKS or NAME=PART,PART. Raises ConfigError."""
    from anymodal.data.files.words import is_many

    kept: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or (equals and not value) or name in kept:
            raise ConfigError(f"--keep {word!r} is not NAME, NAME=MASK or NAME=PART,PART, each name once")
        if not equals:
            kept[name] = True
        else:
            is_place = FILE.search(value) or is_many(value) or "/" in value
            kept[name] = Path(value) if is_place else _parts(word, value)
    return kept


def _parts(word: str, value: str) -> Any:
    """What is kept, of PART,PART. Raises ConfigError that names the word."""
    from anymodal.config import parse_yaml

    try:
        return parse_yaml(f"[{value}]")
    except ConfigError as error:
        raise ConfigError(f"the parts of --keep {word!r} cannot be read: {error}") from None


def comma_separated(text: str) -> list[str]:
    """The parts of a text with commas between, without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def weights_by_name(text: str) -> dict[str, float | str]:
    """Such as rgb=1,caption=2.5 or caption=rising:4. Raises ConfigError."""
    found: dict[str, float | str] = {}
    for name, value in pairs(comma_separated(text), "a weight").items():
        strength = as_guidance(value)
        found[name] = strength.scale if isinstance(strength, Constant) else value
    return found


def numbers_by_name(text: str) -> dict[str, float]:
    """Such as rgb=1,caption=2.5. Raises ConfigError."""
    try:
        return {name: real(float(value)) for name, value in pairs(comma_separated(text), "a weight").items()}
    except ValueError as error:
        raise ConfigError(f"{text!r} is not of the form NAME=NUMBER,NAME=NUMBER: {error}") from None
