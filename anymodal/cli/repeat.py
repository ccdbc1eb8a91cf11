"""`anymodal repeat`: what was generated once is generated again, and compared with what it was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anymodal.cli.checks import check_device
from anymodal.cli.model_options import place_options
from anymodal.cli.output import Output, with_output
from anymodal.errors import CheckpointError, DataError
from anymodal.files import check_folder

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.outputs import Outputs
    from anymodal.outputs.folder import Contents
    from anymodal.outputs.run import Run


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: FOLDER, if all is the same]")
@click.option("--model", help="Where the model is now; it must be the same one.")
@place_options
@with_output
def repeat(output: Output, folder: Path, out: Path | None, model: str | None, load: dict[str, Any]) -> None:
    """Make the values in FOLDER again, from its inputs and run.json, and say whether their files are the same.

    \b
    anymodal repeat out/
    anymodal repeat out/ --out again/ --device cpu

    The exit code is 1 where a file differs, as it may with other versions, or on another device.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    if out is not None:
        check_folder(out)
    check_device(load.get("device"))
    from anymodal.outputs.run import run_file

    run_file(folder)  # what is no such folder is told before torch is imported
    from anymodal.outputs.folder import hashes, read_request

    request = read_request(folder)
    run = request.run
    if run is None:
        raise DataError(f"{folder} cannot be repeated: nothing says how it was made; generate it anew")
    if run.kept:
        raise DataError(f"{folder} cannot be repeated: parts of {', '.join(run.kept)} were given; generate it anew")
    if not (name := model or run.origin.model):
        raise DataError(f"{folder} cannot be repeated: its model had not been loaded; say where it is with --model")

    from anymodal.anymodel import load as load_model
    from anymodal.outputs.fingerprint import fingerprint

    revision = (run.origin.commit or run.origin.revision) if model is None else None
    names = list(request.modalities.modalities)
    numbers: Any = {"dtype": run.dtype, "precision": run.precision or "float32"}
    loaded = load_model(name, revision=revision, modalities=names, **numbers, **load)
    read = () if run.finer else request.inputs
    found = fingerprint(loaded.transformer, loaded.modalities, read, run.targets)
    if told := run.fingerprint.difference(found):
        raise CheckpointError(
            f"{name} is not the model that made {folder}: others are its {told}; give that model with --model"
        )
    result = _made_again(loaded, request, run)
    before = hashes(folder)
    with tempfile.TemporaryDirectory() as scratch:
        result.save(scratch)
        after = hashes(Path(scratch))
    changed = [name for name in before if before[name] != after.get(name)]
    for name in before:
        output.line(f"{name}: {'another file' if name in changed else 'the same file'}")
    for library, now in result.run.versions.items() if result.run and changed else ():
        if now != run.versions.get(library, now):
            output.line(f"{library} is {now}, and was {run.versions[library]}")
    paths = result.save(out or folder) if out is not None or not changed else []
    output.data({"same": not changed, "changed": changed, "files": [str(path) for path in paths]})
    if changed and out is None:
        output.again("--out", "again")
    if changed:
        raise click.exceptions.Exit(1)


def _made_again(model: AnyModel, request: Contents, run: Run) -> Outputs:
    """What a model makes of the request, as the run says. Raises AnymodalError where it cannot."""
    from anymodal.outputs import Outputs

    options: dict[str, Any] = run.options
    if not run.finer:
        how: dict[str, Any] = {"chain": run.chain, "weights": run.weights, "options": options}
        if run.size:
            how |= {"size": run.size, "overlap": run.overlap}
        return model.generate(request.inputs, list(run.targets), seed=run.seed, **how)
    names = {target: target.split(".")[0] for target in run.targets}  # of a finer stream, that of its modality
    coarse = Outputs(model.modalities, dict.fromkeys(names.values()), request.inputs, request.source)
    finer = {names.get(target, target): each for target, each in options.items()}
    return model.upscale(coarse, list(names.values()), seed=run.seed, options=finer)
