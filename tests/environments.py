"""Environments with the packages of this one, and our distributions from the checkout or from wheels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = re.compile(r"_*(editable_impl_)?anymodal")
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # 0: none


def build_wheel(project: Path, out: Path) -> Path:
    """The wheel of a folder with a pyproject.toml, built into `out` without an index."""
    known = set(out.glob("*.whl"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(project)], check=True)
    (made,) = set(out.glob("*.whl")) - known
    return made


class Environment:
    """A fresh environment with the packages of another one: of this one without ours, unless `like` is given.

    `in_checkout`: ours are there too, as they are here. Nothing comes from an index; pip finds `wheels`.
    """

    def __init__(
        self, folder: Path, *, in_checkout: bool = False, like: Environment | None = None, wheels: Path | None = None
    ) -> None:
        venv.create(folder / "env", symlinks=True, with_pip=False)
        self.folder = folder
        self.bin = folder / "env" / "bin"
        self.site = next((folder / "env" / "lib").glob("python*")) / "site-packages"
        for part in (like.site if like else Path(sysconfig.get_path("purelib"))).iterdir():
            if like or in_checkout or not (OURS.match(part.name) or part.suffix == ".pth"):
                (self.site / part.name).symlink_to(part)
        ignored = ("ANYMODAL",) if in_checkout else ("ANYMODAL", "PYTHON")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(ignored)} | NO_INDEX
        if wheels is not None:
            self.environ["PIP_FIND_LINKS"] = str(wheels)
        self.environ["PATH"] = f"{self.bin}:{os.environ['PATH']}"
        for name, module in (("pip", "pip"), ("anymodal", "anymodal"), ("torchrun", "torch.distributed.run")):
            if like or in_checkout or name != "anymodal":  # else its wheel brings it
                self._put(name, module)

    def _put(self, name: str, module: str) -> None:
        (self.bin / name).write_text(f'#!/bin/sh\nexec {self.bin / "python"} -m {module} "$@"\n')
        (self.bin / name).chmod(0o755)

    def install(self, *wheels: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "-q", "--no-index"]
        subprocess.run([*pip, "--no-deps", *map(str, wheels)], check=True)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
