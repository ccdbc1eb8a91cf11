"""What TAB completes, as the shells ask for it, and as bash itself shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anymodal as am
from anymodal.checkpoints.presets import presets
from anymodal.cli.completion import CHANGES, use_our_scripts
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
    assert values(tmp_path, "recipes", "copy", "ti") == [name for name in recipes() if name.startswith("ti")]
    assert "image" in values(tmp_path, "plugin", "new", "x", "--family", "im")
    assert completions(tmp_path, "train", "rec") == [("file", "rec")]
    assert "samples" in values(tmp_path, "sam")


def test_the_changes_fit_the_scripts_of_click():
    for shell, (old, _) in CHANGES.items():
        assert shell.source_template.count(old) == 1


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("anymodal generate --to dep", ["depth"]),
        ("anymodal generate --to depth,norm", ["depth,normal"]),
        ("anymodal generate dep", ["depth="]),
        ("anymodal generate rgb=ph", ["photo.jpg", "photos/"]),
        ("anymodal generate --model tin", ["tiny"]),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_bash(tmp_path, line, shown):
    """The function that bash calls, with the words that bash makes of a line (it takes = for one of its own)."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "anymodal").write_text(f'#!/bin/sh\nexec {sys.executable} -m anymodal "$@"\n')
    (tmp_path / "anymodal").chmod(0o755)
    words = line.replace("=", " = ").split()
    script = (
        'eval "$(_ANYMODAL_COMPLETE=bash_source anymodal)"\ncompopt() { echo "option $*" >&2; }\n'
        f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        '_anymodal_completion anymodal\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environ)
    assert done.stdout.split() == shown, done.stderr
    assert ("nospace" in done.stderr) == any(each.endswith("=") for each in shown)


def test_the_scripts_of_all_shells_are_printed():
    use_our_scripts()
    for shell in ("bash", "zsh", "fish"):
        environ = {**os.environ, "_ANYMODAL_COMPLETE": f"{shell}_source"}
        done = subprocess.run([sys.executable, "-m", "anymodal"], capture_output=True, text=True, env=environ)
        assert done.returncode == 0 and "_ANYMODAL_COMPLETE" in done.stdout
        assert any(new in done.stdout for _, new in CHANGES.values())
