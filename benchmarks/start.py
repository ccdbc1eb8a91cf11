"""The command line: one caption of one picture by the embedded model, against the import of PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
from anymodal_scenes import BASIC, render
from PIL import Image

from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work

MAIN = "from anymodal.cli import main; main()"
TORCH = [sys.executable, "-c", "import torch"]


@BENCHMARKS.register("start")
@attrs.frozen
class Start(Timed):
    """`anymodal generate rgb=photo.png --to caption` as a process; the floor is `import torch` as another."""

    target: ClassVar[str] = "1.35 times the import, in processor time"

    def cases(self, quick: bool) -> list[Case]:
        return [{"model": "tiny"}]

    def prepare(self, case: Case) -> Work:
        folder = tempfile.TemporaryDirectory()
        picture = Path(folder.name, "photo.png")
        Image.fromarray(render(1_000_003, 0, 64, BASIC).rgb).save(picture)
        command = [sys.executable, "-c", MAIN, "generate", f"rgb={picture}", "--to", "caption"]
        command += ["--model", case["model"], "--out", str(Path(folder.name, "out"))]

        def run() -> None:
            assert folder.name
            _process(command)

        return Work(run, lambda: [Part("import torch", 1, partial(_process, TORCH))])


def _process(command: list[str]) -> None:
    """Run a command on compiled modules, as an installed package has them: compiling takes a second."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
