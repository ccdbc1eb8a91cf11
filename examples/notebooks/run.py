"""Run notebooks from their first cell to their last, and keep what they show small.

python examples/notebooks/run.py [NAME ...]     runs them in full and writes their outputs into the files

A notebook runs in an empty folder, in an environment of its own, for it may install something. Cells with the tag
`install` are left out. `fast` in the metadata of a cell is what it runs as where only that it runs matters, as in the
tests.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent.parent / "tests"))

from environments import Environment  # noqa: E402 - lies there

COLORS, WIDEST = 200, 1100  # of a picture that is kept
SHOWN = ("image/png", "text/html", "text/plain")  # the first of these that an output has is kept
SECONDS = 1800  # of a cell
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colors and the like, which commands write for people


def is_installing(cell: Any) -> bool:
    return "install" in cell.metadata.get("tags", ())


def run(notebook: Any, folder: Path, *, fast: bool = False) -> Any:
    """A copy of a notebook with the outputs that it has when it runs in an empty folder.

    Raises nbclient.exceptions.CellExecutionError where a cell fails.
    """
    given = nbformat.from_dict(notebook)
    cells = [cell for cell in given.cells if cell.cell_type == "code" and not is_installing(cell)]
    printed = {cell.id: cell.source for cell in cells}
    for cell in cells:
        cell.source = _strict(cell.metadata.get("fast", cell.source) if fast else cell.source)
    running, work = nbformat.from_dict({**given, "cells": cells}), folder / "work"
    work.mkdir()
    environment = Environment(folder, in_checkout=True)
    kernel = AsyncKernelManager(kernel_name="python3")
    kernel.kernel_spec.argv[0] = str(environment.bin / "python")
    client = NotebookClient(running, km=kernel, timeout=SECONDS, resources={"metadata": {"path": str(work)}})
    environ = {**environment.environ, "IPYTHONDIR": str(folder / "ipython"), "HF_HUB_OFFLINE": "1"}
    client.execute(env=environ, cleanup_kc=True)  # not by itself of a kernel that was given to it
    outputs = {cell.id: cell.outputs for cell in running.cells}
    for cell in cells:
        cell.source, cell.outputs = printed[cell.id], outputs[cell.id]
    return given


def _strict(source: str) -> str:
    """The source of a cell that fails where a command in it does, of which a notebook goes on."""
    return re.sub(r"^!.*$", r"\g<0>\nassert not _exit_code", source, flags=re.MULTILINE)


def slim(notebook: Any, folder: Path) -> Any:
    """The notebook without what changes from run to run: progress, counts, times and the names of folders."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for output in cell.outputs if (kept := _slim_output(output, folder)) is not None]
    notebook.metadata.pop("language_info", None)
    notebook.metadata["ran"] = digest(notebook)
    return notebook


def digest(notebook: Any) -> str:
    """What tells whether the outputs in a file are those of its code; the words between may change."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def _slim_output(output: Any, folder: Path) -> Any:
    if output.output_type == "stream":
        for each in (folder.resolve(), folder):
            output.text = output.text.replace(f"{each / 'work'}/", "")
        output.text = TERMINAL.sub("", output.text)
        return output if output.name == "stdout" and output.text.strip() else None
    kind = next((kind for kind in SHOWN if kind in output.get("data", {})), None)
    if kind is None or (kind == "text/plain" and output.output_type == "display_data"):  # which is progress
        return None
    value = output.data[kind]
    output.data = {kind: _small_png(value) if kind == "image/png" else value}
    output.metadata = {}
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


def _small_png(data: str) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    names = sys.argv[1:] or [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as scratch:
            made = slim(run(nbformat.read(path, 4), Path(scratch)), Path(scratch))
        text = nbformat.writes(made)
        path.write_text(text if text.endswith("\n") else f"{text}\n")
        print(f"{path}: {path.stat().st_size // 1024} kB", flush=True)


if __name__ == "__main__":
    main()
