"""The pages of the documentation: their blocks, and running these in the order of the page.

Every Python block says what it is, in an HTML comment on the line above it; a block of bash runs unless it says that it
does not:

    <!-- run -->              executed, in the order of the page, in one folder a page
    <!-- not run: REASON -->  only compiled, or only parsed

A block with ``title="NAME"`` is a file of that name, written where the blocks after it run. A block ``text
title="output"`` is what the block before it prints, or the error it ends with. ``<!-- after: PAGE -->`` runs another
page first. Commands that would take long are made short by `short_command.py`, which replaces some numbers. The pages
of plugins find a picture of their reader's, `photo.jpg`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
from environments import Environment

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("README.md"), *ROOT.glob("plugins/*/README.md")])
AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.MULTILINE)
FENCE = re.compile(r"(?P<above>[^\n]*)\n```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)

RUNNER = """
import contextlib, importlib, io, json, site, subprocess, sys
from pathlib import Path

def run_python(source, line, expected):
    from anymodal.errors import AnymodalError

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile("\\n" * line + source, page, "exec"), names)
    except AnymodalError as error:
        if expected is None:
            raise
        printed.write(f"{type(error).__name__}: {error}")
    compare(printed.getvalue(), line, expected)

def run_bash(source, line, expected):
    command = ["bash", "-euo", "pipefail", "-x", "-c", source]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{page}, line {line}: exit code {done.returncode}\\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    compare(done.stdout, line, expected)
    for folder in site.getsitepackages():  # what was installed just now, as a Python that starts later finds it
        site.addsitedir(folder)
    importlib.invalidate_caches()

def compare(printed, line, expected):
    if expected is not None and printed.strip() != expected.strip():
        sys.exit(f"{page}, line {line}: prints\\n{printed}\\nand not\\n{expected}")

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    sys.modules.pop(Path(path).stem, None)
    importlib.invalidate_caches()

page, steps = json.load(sys.stdin)
names = {"__name__": "__main__"}
sys.dont_write_bytecode = True
for kind, *step in steps:
    {"python": run_python, "bash": run_bash, "file": write}[kind](*step)
"""


@attrs.frozen
class Block:
    """A fenced block: language, title, code, its first line in the page, and the line above it."""

    language: str
    title: str
    code: str
    line: int
    above: str

    @property
    def runs(self) -> bool:
        if self.language == "bash":
            return not self.title and not self.is_left_out
        return self.above == "<!-- run -->"

    @property
    def is_left_out(self) -> bool:
        return re.fullmatch(r"<!-- not run: .+ -->", self.above) is not None

    @property
    def is_file(self) -> bool:
        return bool(self.title) and self.title != "output"

    @property
    def is_declared(self) -> bool:
        return self.runs or self.is_file or self.is_left_out


def blocks(page: Path) -> list[Block]:
    text = "\n" + page.read_text()
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        line = text[: match.start("code")].count("\n") - 1
        found.append(Block(language, title[1] if title else "", match["code"], line, match["above"].strip()))
    return found


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def steps_of(page: Path, languages: tuple[str, ...]) -> list[tuple[object, ...]]:
    """What the runner does for a page: files to write, and blocks of these languages to run."""
    steps: list[tuple[object, ...]] = []
    every = blocks(page)
    for block, after in zip(every, [*every, None][1:], strict=True):
        if block.is_file:
            steps.append(("file", block.title, block.code))
        elif block.runs and block.language in languages:
            expected = after.code if after and after.title == "output" else None
            steps.append((block.language, block.code, block.line, expected))
    return steps


def run_steps(
    page: Path, steps: list[tuple[object, ...]], folder: Path, python: str | None, environ: dict[str, str]
) -> None:
    """Run the steps of a page in a folder, in a new Python, or for None one that is forked with PyTorch imported.

    Raises AssertionError with what the step that failed wrote.
    """
    if page.is_relative_to(ROOT / "plugins"):
        (folder / "photo.jpg").symlink_to(ROOT / "examples" / "photos" / "coffee.jpg")
    if python is None:
        from forked import run_source

        code, written = run_source(RUNNER, json.dumps([label(page), steps]), folder, environ)
        assert code == 0, written
        return
    done = subprocess.run(
        [python, "-c", RUNNER],
        input=json.dumps([label(page), steps]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environ,
    )
    assert done.returncode == 0, done.stderr


def run_whole(page: Path, folder: Path, environment: Environment) -> None:
    """Run all blocks of a page in a folder with the programs of an environment, long commands made short."""
    programs = environment.folder / "short"
    programs.mkdir()
    for name in ("anymodal", "torchrun"):
        short = f"{sys.executable} {ROOT / 'tests' / 'short_command.py'} {environment.bin / name}"
        (programs / name).write_text(f'#!/bin/sh\nexec {short} "$@"\n')
        (programs / name).chmod(0o755)
    environ = {**environment.environ, "PATH": f"{programs}:{environment.environ['PATH']}"}
    home = environment.folder / "home"  # of a new user; the cache of the Hub stays where it is
    home.mkdir()
    environ |= {"HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    earlier = [(page.parent / name).resolve() for name in AFTER.findall(page.read_text())]
    steps = [step for each in [*earlier, page] for step in steps_of(each, ("python", "bash"))]
    run_steps(page, steps, folder, str(environment.bin / "python"), environ)


def as_checkout(folder: Path) -> Path:
    """A folder with everything that a fresh checkout has at its top, as links."""
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted({line.partition("/")[0] for line in kept.splitlines()}):
        (folder / name).symlink_to(ROOT / name)
    return folder


WHOLE = [page for page in PAGES if steps_of(page, ("bash", "python"))]
