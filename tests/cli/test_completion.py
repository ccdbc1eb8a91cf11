"""What TAB completes, as the shells ask for it, and as the shells themselves show it."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import click
import pytest

import anymodal as am
from anymodal.checkpoints.presets import presets
from anymodal.cli import completion
from anymodal.cli.completion import CHANGES, use_our_scripts
from anymodal.cli.main import cli
from anymodal.included import recipes


def completions(folder: Path, *words: str) -> list[tuple[str, str]]:
    """(kind, value) of what fish is offered for the last of these words after `anymodal`; nothing heavy is imported."""
    environ = {
        **os.environ,
        "_ANYMODAL_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(["anymodal", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = (
        "import atexit, sys\nfrom anymodal.cli import main\n"
        "atexit.register(lambda: {'torch', 'numpy'} & {*sys.modules} and print('heavy'))\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environ)
    assert done.stderr == "" and "heavy" not in done.stdout
    lines = done.stdout.splitlines()
    return list(zip(lines[::3], lines[1::3], strict=True))


def values(folder: Path, *words: str) -> list[str]:
    return [value for _, value in completions(folder, *words)]


def test_names(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.jpg").touch()
    known = list(am.modalities())
    assert values(tmp_path, "generate", "dep") == ["depth="]
    assert set(values(tmp_path, "generate", '""')) == {f"{name}=" for name in known}
    assert values(tmp_path, "generate", "rgb=ph") == ["rgb=photo.jpg", "rgb=photos/"]
    assert values(tmp_path, "generate", "rgb", "=", "ph") == ["photo.jpg", "photos/"]  # as bash splits it
    assert values(tmp_path, "generate", "--to", "capt") == ["caption"]
    assert values(tmp_path, "generate", "--to", "depth,norm") == ["depth,normal"]
    assert "depth,depth" not in values(tmp_path, "generate", "--to", "depth,d")
    assert values(tmp_path, "generate", "--set", "dep") == ["depth."]
    assert set(values(tmp_path, "generate", "--model", "ti")) == {name for name in presets() if name.startswith("ti")}
    assert completions(tmp_path, "generate", "--model", "./x") == [("file", "./x")]
    assert values(tmp_path, "modalities", "semse") == ["semseg"]
    assert values(tmp_path, "label", "photos", "--with", "cann") == ["canny_edge"]
    assert values(tmp_path, "label", "photos", "--executor", "to") == ["torchrun"]
    assert values(tmp_path, "recipes", "copy", "ti") == [name for name in recipes() if name.startswith("ti")]
    assert "image" in values(tmp_path, "plugin", "new", "x", "--family", "im")
    assert completions(tmp_path, "train", "rec") == [("file", "rec")]
    assert "samples" in values(tmp_path, "sam")
    assert values(tmp_path, "eval", "diode_d") == ["diode_depth"]
    assert values(tmp_path, "eval", "depth", "--from", "rgb,capt") == ["rgb,caption"]
    assert values(tmp_path, "retrieve", "index", "data", "--by", "dinov2_gl") == ["dinov2_global"]
    assert {"install", "search"} <= set(values(tmp_path, "plugin", '""'))
    assert "--dry-run" in values(tmp_path, "plugin", "install", "--dry")
    assert completions(tmp_path, "plugin", "install", "./x") == [("file", "./x")]


def test_plugins_that_are_not_installed_are_offered_by_their_short_names(monkeypatch):
    monkeypatch.setattr(completion, "directory", lambda: {"anymodal-depth", "anymodal-sea-ice", "anymodal-sonar"})
    offered = completion.installable(click.Context(cli), click.Argument(["names"]), "s")
    assert [item.value for item in offered] == ["sea_ice", "sonar"]


def test_the_changes_fit_the_scripts_of_click():
    for shell, (old, _) in CHANGES.items():
        assert shell.source_template.count(old) == 1


@pytest.fixture
def started(tmp_path) -> dict[str, str]:
    """The environment of a shell that starts in a folder with two files, and finds `anymodal` there."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "anymodal").write_text(f'#!/bin/sh\nexec {sys.executable} -m anymodal "$@"\n')
    (tmp_path / "anymodal").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "PWD": str(tmp_path)}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell}")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("anymodal generate --to dep", ["depth"]),
        ("anymodal generate --to depth,norm", ["depth,normal"]),
        ("anymodal generate dep", ["depth="]),
        ("anymodal generate rgb=ph", ["photo.jpg", "photos/"]),
        ("anymodal generate --model tin", ["tiny", "tiny-7"]),
        ("anymodal plugin inst", ["install"]),
        ("anymodal eval diode_d", ["diode_depth"]),
        ("anymodal probe x --to sems", ["semseg"]),
    ],
)
@needs("bash")
def test_in_bash(tmp_path, started, line, shown):
    """The function that bash calls, with the words that bash makes of a line (it takes = for one of its own)."""
    words = line.replace("=", " = ").split()
    script = (
        'eval "$(_ANYMODAL_COMPLETE=bash_source anymodal)"\ncompopt() { echo "option $*" >&2; }\n'
        f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        '_anymodal_completion anymodal\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=started)
    assert done.stdout.split() == shown, done.stderr
    assert ("nospace" in done.stderr) == any(each.endswith("=") for each in shown)


@needs("zsh")
def test_in_zsh(tmp_path, started):
    """Keys as a person presses them, on a terminal: TAB, and one that writes down what the line is by now."""
    lines = {
        "anymodal generate --to dep": "anymodal generate --to depth ",
        "anymodal generate --to depth,norm": "anymodal generate --to depth,normal ",
        "anymodal generate dep": "anymodal generate depth=",
        "anymodal generate rgb=photo.": "anymodal generate rgb=photo.jpg ",
        "anymodal generate --model ./photo.": "anymodal generate --model ./photo.jpg ",
        "anymodal plugin inst": "anymodal plugin install ",
        "anymodal eval diode_d": "anymodal eval diode_depth ",
    }
    (tmp_path / ".zshrc").write_text(
        "autoload -U compinit && compinit -u -D\n"
        'eval "$(_ANYMODAL_COMPLETE=zsh_source anymodal)"\n'
        'written() { print -r -- "$BUFFER" >> lines; BUFFER= }\n'
        "zle -N written && bindkey '^T' written && touch ready\n"
    )
    shell, terminal = pty.fork()
    if shell == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-i"], {**started, "ZDOTDIR": str(tmp_path), "TERM": "dumb"})
    threading.Thread(target=drain, args=(terminal,), daemon=True).start()
    try:
        wait_for(tmp_path / "ready", 0)
        for count, line in enumerate(lines, 1):
            os.write(terminal, f"{line}\t\x14".encode())
            wait_for(tmp_path / "lines", count)
    finally:
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)
    assert (tmp_path / "lines").read_text().splitlines() == list(lines.values())


def drain(terminal: int) -> None:
    """Read what a shell shows, which would wait otherwise."""
    with suppress(OSError):
        while os.read(terminal, 4096):
            pass


def wait_for(path: Path, lines: int) -> None:
    """Wait until a file has so many lines."""
    end = time.monotonic() + 120
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < end, path
        time.sleep(0.02)


@needs("fish")
def test_in_fish(tmp_path, started):
    """What fish itself says that it would offer."""
    lines = {
        "anymodal generate --to dep": ["depth"],
        "anymodal generate --to depth,norm": ["depth,normal"],
        "anymodal generate dep": ["depth="],
        "anymodal generate rgb=ph": ["rgb=photo.jpg", "rgb=photos/"],
        "anymodal generate --model ./ph": ["./photo.jpg", "./photos/"],
        "anymodal plugin inst": ["install"],
        "anymodal eval diode_d": ["diode_depth"],
    }
    asked = "; ".join(f"complete -C '{line}'; echo end" for line in lines)
    script = f"_ANYMODAL_COMPLETE=fish_source anymodal | source; {asked}"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=started)
    shown = [part.split("\n") for part in done.stdout.strip().removesuffix("end").strip().split("\nend\n")]
    assert [[line.split("\t")[0] for line in part] for part in shown] == list(lines.values()), done.stderr


def test_the_scripts_of_all_shells_are_printed():
    use_our_scripts()
    for shell in ("bash", "zsh", "fish"):
        environ = {**os.environ, "_ANYMODAL_COMPLETE": f"{shell}_source"}
        done = subprocess.run([sys.executable, "-m", "anymodal"], capture_output=True, text=True, env=environ)
        assert done.returncode == 0 and "_ANYMODAL_COMPLETE" in done.stdout
        assert any(new in done.stdout for _, new in CHANGES.values())
