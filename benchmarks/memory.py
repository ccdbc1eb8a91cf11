"""Where the memory of a process is that loads a model: at each step, in MiB that are resident, on Linux.

`python -m benchmarks memory`, `--set memory.size=B`

The file has the tensors of a published one, and zeros in them, of which it takes no time to write gigabytes.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.checkpoints.formats.fourm.config import write_model_config
from anymodal.checkpoints.formats.fourm.model import transformer_keys
from anymodal.checkpoints.state import transformer_on_meta
from benchmarks.harness.base import BENCHMARKS, Figures
from benchmarks.harness.models import SIZES, published_layout
from benchmarks.harness.report import markdown
from benchmarks.loading import write_words

CHILD = """
import json, sys
from pathlib import Path

def memory(name="VmRSS"):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

found = {"Python": memory()}
import torch
found["PyTorch"] = memory()
import anymodal as am
from anymodal.checkpoints.load import load
am.load
import safetensors.torch
found["other imports"] = memory()
model = am.load(sys.argv[1], local_files_only=True).transformer
found["loaded"] = memory()
found["peak"] = memory("VmHWM")
found["weights"] = sum(t.nbytes for t in (*model.parameters(), *model.buffers())) / 2**20
print(json.dumps(found))
"""


@BENCHMARKS.register("memory")
@attrs.frozen
class Memory(Figures):
    """Where the memory of a process is that loads all of a published file."""

    size: str = "s"

    def run(self, quick: bool) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as temporary:
            file = write_zeros(Path(temporary), self.size)
            command = [sys.executable, "-c", CHILD, temporary]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return {"file": file.stat().st_size / 2**20, **json.loads(done.stdout.splitlines()[-1])}

    def table(self, found: Mapping[str, Any]) -> str:
        """What each step adds, and that as a part of the file."""
        weights, before = found["weights"], found["other imports"]
        rows = {
            "Python": found["Python"],
            "PyTorch imported": found["PyTorch"] - found["Python"],
            "other imports": before - found["PyTorch"],
            "weights and codes of positions": weights,
            "what else is there once it is loaded": found["loaded"] - before - weights,
            "more while it was loaded": found["peak"] - found["loaded"],
            "peak": found["peak"],
        }
        lines = [[name, f"{value:.0f}", f"{value / found['file']:.2f}"] for name, value in rows.items()]
        said = f"A file of {found['file']:.0f} MiB, and resident memory of the process that loads it."
        return f"{said}\n\n{markdown(['', 'MiB', 'of the file'], lines)}"


def write_zeros(folder: Path, size: str) -> Path:
    """A published model whose weights are zero, and constants as they are; returns the file of its weights."""
    model = transformer_on_meta(SIZES[size], published_layout())
    header, constants, end = dict[str, Any](), dict[int, bytes](), 0
    for key in transformer_keys(model):
        if key.fixed is not None:
            constants[end] = key.fixed().float().numpy().tobytes()
        start, end = end, end + 4 * math.prod(key.shape)
        header[key.name] = {"dtype": "F32", "shape": list(key.shape), "data_offsets": [start, end]}
    head = json.dumps(header).encode()
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        first = file.tell()
        file.truncate(first + end)
        for start, numbers in constants.items():
            file.seek(first + start)
            file.write(numbers)
    (folder / "config.json").write_text(json.dumps(write_model_config(model.config, model.layout)))
    write_words(folder)
    return path
