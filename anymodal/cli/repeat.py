"""`anymodal repeat`: what was generated once is generated again, and compared with what it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from anymodal.cli.output import Output, with_output
from anymodal.errors import CheckpointError, DataError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: FOLDER, if all is the same]")
@click.option("--model", help="Where the model is now; it must be the same one.")
@with_output
def repeat(output: Output, folder: Path, out: Path | None, model: str | None) -> None:
    """Make the values in FOLDER again, from its inputs and run.json, and say whether their files are the same.

    \b
    anymodal repeat out/
    anymodal repeat out/ --out again/

    The exit code is 1 where a file differs, as it may with other versions, or on another device.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    from anymodal.outputs.folder import hashes, read_request

    request = read_request(folder)
    run = request.run
    if run is None or run.finer:
        why = "upscale made it from the tokens of other outputs" if run is not None else "nothing says how it was made"
        raise DataError(f"{folder} cannot be repeated: {why}; generate it anew")
    if not (name := model or run.origin.model):
        raise DataError(f"{folder} cannot be repeated: its model had not been loaded; say where it is with --model")

    from anymodal.anymodel import load
    from anymodal.outputs.run import fingerprint

    revision = run.origin.revision if model is None else None
    loaded = load(name, revision=revision, modalities=list(request.modalities.modalities), dtype=run.dtype)
    if (found := fingerprint(loaded.transformer)) != run.fingerprint:
        raise CheckpointError(
            f"{name} is not the model that made {folder}: its fingerprint is {found}, not {run.fingerprint}; give that"
            " model with --model"
        )
    result = loaded.generate(
        request.inputs,
        list(run.targets),
        seed=run.seed,
        chain=run.chain,
        weights=run.weights,
        options=run.options,  # type: ignore[arg-type]  # checked as a user's
    )
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
    if changed:
        raise click.exceptions.Exit(1)
