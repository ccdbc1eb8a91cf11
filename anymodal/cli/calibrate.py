"""`anymodal calibrate`: temperatures at which a model is as sure as it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import Known, check_data, check_device
from anymodal.cli.model_options import comma_separated, whole_model_options
from anymodal.cli.options import FROM, names_option
from anymodal.cli.output import Output, with_output
from anymodal.errors import CheckpointError, GenerationError, counted
from anymodal.files import check_folder


@click.command()
@click.argument("model", shell_complete=completion.models)
@click.argument("data", shell_complete=completion.files)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder for the calibrated checkpoint.")
@names_option("--from", "inputs", help="What targets are predicted from.  [default: photographs]")
@names_option("--to", "targets", help="The targets.  [default: all that DATA has]")
@click.option("--count", type=click.IntRange(min=2), help="Only the first samples.")
@click.option(
    "--samples",
    type=click.IntRange(2, 100),
    default=10,
    show_default=True,
    help="Draws of which the class of a pixel is the mean.",
)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Samples predicted together.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same halves and draws."
)
@whole_model_options
@with_output
def calibrate(
    output: Output,
    model: str,
    data: str,
    out: Path,
    inputs: str | None,
    targets: str | None,
    load: dict[str, Any],
    **how: Any,
) -> None:
    """Fit how sure MODEL is of each target to DATA that it was not trained on, and write it with that to a folder.

    One half of the samples is fitted to, and the expected calibration error is measured on the other. What the model
    generates stays the same.

    \b
    anymodal calibrate tiny out/scenes --out calibrated
    anymodal calibrate tiny out/scenes --from rgb --to depth,semseg --count 500 --out calibrated
    """
    check_device(load.get("device"))
    known = Known.of(model, load.get("revision"))
    read, made = comma_separated(inputs or "") or [known.pictures(FROM)], comma_separated(targets or "")
    for name in (*read, *made):
        known.check(name)
    if both := [name for name in made if name in read]:
        raise GenerationError(f"{both[0]!r} is both an input and a target; leave out one")
    check_data(data)
    check_folder(out)
    if out.suffix == ".safetensors":
        raise CheckpointError(f"{out} must be a folder: a checkpoint of our own is one")
    from anymodal.anymodel import load as load_model
    from anymodal.evaluation.calibration import calibrate as run

    loaded = load_model(model, **load)
    found = run(loaded, data, inputs=read, targets=made or None, **how)
    loaded.save_pretrained(out)
    rows = [
        [each.target, each.of, f"{each.temperature:.3f}", each.before.places, *_change(each.before, each.after)]
        for each in found.temperatures
    ]
    output.table(["target", "of", "temperature", "places", "error", "calibrated", "loss", "calibrated"], rows)
    output.note(f"fitted to {counted(found.fitted, 'sample')}, tried on {counted(found.tried, 'other')}")
    for each in found.problems:
        output.note(f"left out: {counted(each.count, 'sample')}, {each.kind}, such as {each.examples[0]}")
    output.data({**found.as_json(), "out": str(out)})
    output.next(f"anymodal generate rgb=photo.jpg --to all --model {out} --out out/")


def _change(before: Any, after: Any) -> list[str]:
    """The calibration error in percent and the loss, before and after."""
    errors = [f"{100 * each.error:.2f} %" for each in (before, after)]
    return [*errors, *(f"{each.mean_loss:.3f}" for each in (before, after))]
