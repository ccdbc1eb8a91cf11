"""`anymodal export`: a model as ONNX graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anymodal.cli import completion
from anymodal.cli.checks import Known
from anymodal.cli.model_options import comma_separated, whole_model_options
from anymodal.cli.options import names_option
from anymodal.cli.output import Output, with_output
from anymodal.errors import ConfigError, counted
from anymodal.files import check_folder


@click.command()
@click.argument("model", shell_complete=completion.models)
@click.option("--onnx", "folder", required=True, type=click.Path(path_type=Path), help="A folder for the graphs.")
@names_option("--modalities", help="Export these modalities alone, with commas between.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="How weights are stored; graphs compute in float32.",
)
@whole_model_options
@with_output
def export(
    output: Output, model: str, folder: Path, modalities: str | None, precision: str, load: dict[str, Any]
) -> None:
    """Write MODEL as ONNX graphs, each compared with PyTorch, for other runtimes and for anymodal itself.

    \b
    anymodal export tiny --onnx graphs
    anymodal export tiny --onnx small --precision int8 --modalities rgb,depth,caption
    """
    if load.get("device", "cpu") != "cpu" or load.get("dtype", "float32") != "float32":
        raise ConfigError("graphs are made of a model in float32 on the CPU: leave out --device and --dtype")
    chosen = comma_separated(modalities or "")
    Known.of(model, load.get("revision"), chosen)
    check_folder(folder)
    from anymodal.anymodel import load as load_model
    from anymodal.export import export_onnx
    from anymodal.export.graphs import check_installed

    check_installed()
    exact = {"device": "cpu", "backend": "torch", "precision": "float32"}
    loaded = load_model(model, **{**load, "modalities": chosen or None, **exact})
    manifest = export_onnx(loaded, folder, precision)
    graphs = manifest.graphs()
    rows = [[graph.file, graph.bytes, f"{graph.error:.2g}"] for graph in graphs]
    output.table(["graph", "bytes", "difference"], rows)
    output.line(f"wrote {counted(len(graphs), 'graph')} of {sum(graph.bytes for graph in graphs)} bytes to {folder}")
    output.next(f"anymodal generate photo.jpg --to {manifest.targets[0]} --model {folder}")
    output.data(
        {
            "folder": str(folder),
            "precision": precision,
            "bytes": sum(graph.bytes for graph in graphs),
            "graphs": [{"file": graph.file, "bytes": graph.bytes, "difference": graph.error} for graph in graphs],
        }
    )
