"""`anymodal probe`: what the frozen features of a model know."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import Known, check_data, check_device
from anymodal.cli.model_options import comma_separated, load_options
from anymodal.cli.options import FROM, names_option, with_options
from anymodal.cli.output import Output, with_output
from anymodal.errors import ConfigError, counted

if TYPE_CHECKING:
    from anymodal.transfer.probing import Probed

SHOWN = 3  # problems that are named

PROBE_OPTIONS = (
    click.option(
        "--to",
        metavar="NAME",
        shell_complete=completion.modalities,
        help="A modality of the data to read off the features, such as semseg.",
    ),
    names_option("--from", "inputs", help="What features are made from.  [default: photographs]"),
    click.option("--head", default="linear", show_default=True, help="linear, knn, or attentive (classes alone)."),
    click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Random splits."),
    click.option(
        "--held-out",
        type=click.FloatRange(0, 1, True, True),
        default=0.25,
        show_default=True,
        help="Share that is tried.",
    ),
    click.option("--layer", type=int, default=-1, show_default=True, help="After which block; -1 is the last one."),
    click.option("--count", type=click.IntRange(min=1), help="Only so many samples, or files of each class."),
    click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="A folder where features are kept."),
)


def probe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a probe, passed on in a dict `how` of what `anymodal.probe` takes, and as they are."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        how = {name: options.pop(name) for name in ("head", "held_out", "seeds", "layer", "cache")}
        return function(*arguments, how=how, **options)

    return with_options(command, PROBE_OPTIONS)


@click.command()
@click.argument("data", shell_complete=completion.files)
@probe_options
@load_options
@with_output
def probe(
    output: Output,
    data: str,
    to: str | None,
    inputs: str | None,
    count: int | None,
    how: dict[str, Any],
    model: str,
    load: dict[str, Any],
) -> None:
    """Try what a head learns from frozen features of DATA.

    Without --to, DATA has a folder of pictures for each class, or a folder "train" and one "val" of such. With --to it
    is an aligned or a tokenized dataset, and each cell of the map of features tells its pixels.

    \b
    anymodal probe flowers --head knn
    anymodal probe out/scenes --to semseg --from rgb,depth --model tiny
    """
    check_device(load.get("device"))
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    names = comma_separated(inputs or "") or [known.pictures(FROM)]
    for name in (*names, *([to] if to else [])):
        known.check(name)
    if to is None and len(names) > 1:
        raise ConfigError("folders of classes hold one modality: name one with --from, or a modality with --to")
    if to in names:
        raise ConfigError(f"{to!r} cannot be read off features of itself: leave it out of --from")
    check_data(data)
    if to is None and not Path(data).is_dir():
        raise ConfigError(f"{data} is no folder of classes; for a dataset name a modality with --to")
    from anymodal.transfer.heads import HEADS, no_cells, require_sklearn

    HEADS(how["head"])
    if to is None:
        _check_classes(Path(data), names[0], known)
    elif not known.may_be_grid(to):
        raise no_cells(to, filter(known.may_be_grid, known.names))
    require_sklearn()
    from anymodal.anymodel import load as load_model
    from anymodal.data.sources.open import layout_of_dataset
    from anymodal.data.sources.tokenized import TokenizedDataset
    from anymodal.transfer.probe_data import class_data, grid_data, token_data
    from anymodal.transfer.probing import probe as run

    loaded = load_model(model, **{**load, "modalities": load.get("modalities") or [*names, *([to] if to else [])]})
    if to:
        tokenized = isinstance(layout_of_dataset(data), TokenizedDataset)
        found = (token_data if tokenized else grid_data)(loaded, data, names, to, count)
    else:
        found = class_data(loaded, Path(data), names[0], count)
    for problem in found.problems[:SHOWN]:
        output.note(f"left out: {problem}")
    if len(found.problems) > SHOWN:
        output.note(f"left out: {len(found.problems) - SHOWN} more")
    _say(output, run(loaded, found.samples, found.labels, to=to, splits=found.splits, **how), len(found.problems))
    output.next("anymodal recipes copy transfer")


def _check_classes(data: Path, name: str, known: Known) -> None:
    """Raise DataError for what are no folders of classes, ConfigError for folders of modalities."""
    from anymodal.transfer.class_folders import read_class_folders

    if (data / name).is_dir():
        raise ConfigError(f"{data} has a folder {name!r}, as a dataset of modalities: say with --to which one to read")
    if suffixes := known.suffixes(name):
        read_class_folders(data, suffixes)


def _say(output: Output, probed: Probed, problems: int) -> None:
    """Say what came of it."""
    rows = []
    for score in probed.scores[0]:
        span = probed.interval(score)
        usual = sum(each[score] for each in probed.constant) / len(probed.constant)
        between = f"{span[0]:.4g} to {span[1]:.4g}" if span else ""
        rows.append([score, f"{probed.mean(score):.4g}", between, f"{usual:.4g}"])
    output.table(["score", "mean", "95 %", "constant"], rows)
    output.note(
        f"{probed.head} on {counted(probed.learned, 'sample')}, tried on {probed.held_out},"
        f" {counted(len(probed.scores), 'split')}"
    )
    output.data(
        {
            "head": probed.head,
            "learned": probed.learned,
            "held_out": probed.held_out,
            "problems": problems,
            "scores": [dict(each) for each in probed.scores],
            "constant": [dict(each) for each in probed.constant],
        }
    )
