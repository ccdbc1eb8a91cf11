"""`anymodal retrieve`: an index of a dataset, asked by values of any modality."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import Known, check_data, check_device
from anymodal.cli.jobs import say_made
from anymodal.cli.model_options import comma_separated, load_options, numbers_by_name
from anymodal.cli.options import PngPath, job_options, names_option, with_options
from anymodal.cli.output import Output, with_output
from anymodal.cli.pairs import pairs
from anymodal.errors import ConfigError, counted
from anymodal.files import check_file, check_folder

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.retrieval.hits import Hit
    from anymodal.retrieval.index import Index

DRAW_OPTIONS = (
    click.option(
        "--draws",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        help="1 for the expected vector, more for the mean of so many.",
    ),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What they are drawn from."),
)


def draw_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of how vectors are drawn, and pass them on in a dict `drawing`."""

    @functools.wraps(function)
    def command(*arguments: Any, draws: int, seed: int, **options: Any) -> Any:
        return function(*arguments, drawing={"draws": draws, "seed": seed}, **options)

    return with_options(command, DRAW_OPTIONS)


@click.group()
def retrieve() -> None:
    """Make an index of a dataset, and ask it by any modality."""


@retrieve.command("index")
@click.argument("data", shell_complete=completion.files)
@click.option(
    "--by",
    required=True,
    metavar="NAME",
    shell_complete=completion.modalities,
    help="The modality of the vectors, such as dinov2_global.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the index.")
@names_option(
    "--from",
    "inputs",
    help="What to predict vectors from, or their own modality.  [default: vectors of the data, else photographs]",
)
@names_option("--keep", help="Texts that hits carry along, such as caption.")
@draw_options
@click.option("--count", type=click.IntRange(min=1), help="Only the first samples of the data.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Samples predicted together.")
@load_options
@job_options(shard_size=4096)
@with_output
def index(
    output: Output,
    data: str,
    by: str,
    out: Path,
    inputs: str | None,
    keep: str | None,
    drawing: dict[str, int],
    count: int | None,
    batch: int,
    model: str,
    load: dict[str, Any],
    run: dict[str, Any],
) -> None:
    """Index the samples of DATA: one vector each, which the model predicts or the data holds.

    The same command goes on with an interrupted run; another dataset is added to the index.

    \b
    anymodal retrieve index photos --by dinov2_global --out photos-index
    anymodal retrieve index data --by imagebind_global --from rgb,caption --keep caption --out index --workers 8
    """
    check_device(load.get("device"))
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    names, kept = comma_separated(inputs or ""), comma_separated(keep or "")
    for name in (by, *names, *kept):
        known.check(name)
    check_data(data)
    check_folder(out)
    from anymodal.retrieval.record import check_index_folder, no_vector

    check_index_folder(out)
    if not known.may_be_vector(by):
        raise no_vector(by)
    from anymodal.data.jobs.model_source import ModelSource
    from anymodal.retrieval.build import Request, index_dataset

    request = Request(by, tuple(names), tuple(kept), **drawing)
    summary = index_dataset(data, ModelSource(model, load), request, out, count=count, batch=batch, **run)
    say_made(output, summary, out)
    if summary is not None:
        output.next(f'anymodal retrieve query {out} caption="a red car" --model {model}')


@retrieve.command("calibrate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("data", shell_complete=completion.files)
@click.option(
    "--from",
    "asked",
    required=True,
    metavar="NAMES",
    help="What will be asked by, apart or together: caption,depth,caption+depth.",
)
@click.option("--count", type=click.IntRange(min=20), default=1000, show_default=True, help="Samples to learn from.")
@load_options
@with_output
def calibrate(
    output: Output, folder: Path, data: str, asked: str, count: int, model: str, load: dict[str, Any]
) -> None:
    """Learn from pairs in DATA where queries of the index DIR have to be moved, to find what they mean more often.

    DATA holds the modalities of the queries, and vectors or photographs beside them; it need not be what was indexed.
    What was learned stays with the index, whatever is added to it later.

    \b
    anymodal retrieve calibrate photos-index pairs --from caption
    anymodal retrieve calibrate index scenes --from canny_edge,depth,depth+caption --count 2000
    """
    from anymodal.data.jobs.model_source import ModelSource
    from anymodal.retrieval.record import (
        ModelRecord,
        check_predicted,
        read_index_record,
        refuse_other,
        source_record,
    )

    check_device(load.get("device"))
    kinds = _kinds(asked)
    record = read_index_record(folder)
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    check_predicted(record, folder)
    for name in (name for names in kinds for name in names):
        known.check(name)
        if name == record.by:
            raise ConfigError(
                f"{name!r} is what is found, so queries by it need no calibration; leave it out of --from"
            )
    check_data(data)
    refuse_other(ModelRecord(source=source_record(ModelSource(model, load))), record.model, folder)
    from anymodal.anymodel import load as load_model
    from anymodal.retrieval import Index, calibrate_index

    found = calibrate_index(Index(folder), load_model(model, **load), data, kinds, count=count)
    for each in found:
        output.line(f"{'+'.join(each.asked)}: calibrated from {each.pairs} pairs")
        if each.left_out:
            output.note(
                f"left out: {counted(each.left_out, 'sample')} that could not be used, the first because {each.reason}"
            )
    output.data({"+".join(each.asked): {"pairs": each.pairs, "left_out": each.left_out} for each in found})


def _kinds(asked: str) -> list[tuple[str, ...]]:
    """The modalities of each kind of query in words such as caption,caption+depth. Raises ConfigError."""
    kinds = [tuple(names.split("+")) for names in comma_separated(asked)]
    if not kinds:
        raise ConfigError("--from names no modality, such as caption")
    if halves := ["+".join(names) for names in kinds if not all(names)]:
        raise ConfigError(f"--from has {halves[0]!r}; put names on both sides of each +, such as caption+depth")
    return kinds


def query_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a query that are about what may be found, and how."""
    return with_options(
        function,
        (
            click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many."),
            click.option(
                "--weights",
                metavar="NAME=NUMBER,..",
                help="Add up a vector of each input, so much of each: rgb=1,caption=0.5; below 0 is away from it.",
            ),
            click.option(
                "--where",
                "conditions",
                multiple=True,
                metavar="COLUMN=VALUE",
                help="Only rows with that text, pattern, number or range: name='street/*', year=2010..2020.",
            ),
            click.option("--search", default="exact", show_default=True, help="exact, or usearch for many millions."),
        ),
    )


@retrieve.command("query")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, metavar="INPUT...", shell_complete=completion.inputs)
@query_options
@draw_options
@click.option("--sheet", type=PngPath(), metavar="PNG", help="A picture of the hits.")
@click.option(
    "--sheet-data",
    metavar="DATA",
    help="Draw them from this dataset; an address is opened only if named here.  [default: where they were indexed]",
)
@load_options
@with_output
def query(
    output: Output,
    folder: Path,
    inputs: tuple[str, ...],
    top: int,
    weights: str | None,
    conditions: tuple[str, ...],
    search: str,
    sheet: Path | None,
    sheet_data: str | None,
    drawing: dict[str, int],
    model: str,
    load: dict[str, Any],
) -> None:
    """Find what is nearest to the inputs in the index DIR.

    An INPUT is NAME=VALUE, a file, or text for modalities that are text; several are one query together. The model has
    to be the one that the index was made with.

    \b
    anymodal retrieve query photos-index caption="a red car" --top 5
    anymodal retrieve query photos-index rgb=photo.jpg caption="at night" --weights rgb=1,caption=0.5 --sheet hits.png
    """
    from anymodal.cli.inputs import parse_inputs
    from anymodal.data.jobs.model_source import ModelSource
    from anymodal.retrieval.record import (
        ModelRecord,
        check_predicted,
        check_weights,
        read_index_record,
        refuse_other,
        source_record,
    )
    from anymodal.retrieval.searches import SEARCHES

    check_device(load.get("device"))
    record = read_index_record(folder)
    check_predicted(record, folder)
    SEARCHES(search).check()
    where = _where(conditions, record.columns)
    known = Known.of(model, load.get("revision"), load.get("modalities"))
    given = parse_inputs(inputs, known, folder_wanted=False)
    if given.files:
        raise ConfigError("a query is one sample: give one file for each modality")
    amounts = numbers_by_name(weights) if weights else None
    check_weights(given.values, amounts, drawing["draws"], record.by)
    _check_sheet(sheet, sheet_data)
    refuse_other(ModelRecord(source=source_record(ModelSource(model, load))), record.model, folder)
    from anymodal.anymodel import load as load_model
    from anymodal.retrieval.index import Index

    opened = Index(folder)
    loaded = load_model(model, **load)
    hits = opened.query(loaded, given.values, top, weights=amounts, where=where or None, search=search, **drawing)
    if sheet is not None:
        _draw_hits(output, hits, loaded, sheet, sheet_data)
    _say_hits(output, hits, opened)
    if sheet is None:
        output.again("--sheet", "hits.png")


def _check_sheet(sheet: Path | None, data: str | None) -> None:
    if data is not None and sheet is None:
        raise ConfigError("--sheet-data is what --sheet draws from: give that, too")
    if data is not None:
        check_data(data)
    if sheet is not None:
        check_file(sheet)


def _draw_hits(output: Output, hits: Sequence[Hit], model: AnyModel, sheet: Path, data: str | None) -> None:
    from anymodal.retrieval.sheet import write_hits

    drawn = write_hits(hits, [each for each in model.modalities if each.photographic], sheet, data=data)
    output.note(f"drew {drawn} of {len(hits)} hits into {sheet}")


def _say_hits(output: Output, hits: Sequence[Hit], index: Index) -> None:
    columns = list(index.columns)
    output.table(["score", "name", *columns], [[f"{h.score:.4f}", h.name, *map(h.values.get, columns)] for h in hits])
    plain = [{**h.values, "name": h.name, "score": round(h.score, 6), "row": h.row, "data": h.data} for h in hits]
    output.data({"hits": plain, "rows": index.rows})


def _where(conditions: tuple[str, ...], columns: dict[str, str]) -> dict[str, Any]:
    """Conditions by column. Raises ConfigError for a column that there is not, or a value that it cannot have."""
    from anymodal.retrieval.conditions import check_conditions, parse_condition

    texts = pairs(conditions, "a condition")
    check_conditions({name: "" for name in texts if columns.get(name) != "number"}, columns)
    return {name: parse_condition(text, columns.get(name, "text")) for name, text in texts.items()}
