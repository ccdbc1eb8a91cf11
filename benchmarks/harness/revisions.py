"""Another revision of the package beside this one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from anymodal.errors import ConfigError

ROOT = Path(__file__).parents[2]


def folders(root: Path, first: Path | None = None) -> Sequence[Path]:
    """Where a process imports the package and the plugins of a checkout from; `first` comes before."""
    plugins = sorted(path for path in (root / "plugins").glob("*") if (path / "pyproject.toml").exists())
    return [*([first] if first else []), root, *plugins]


@contextmanager
def checkout(reference: str) -> Iterator[Sequence[Path]]:
    """Folders to import another revision from, with the benchmarks and recipes of this one; they are gone afterwards.

    Raises ConfigError for what is no revision of this repository.
    """
    with TemporaryDirectory() as temporary:
        tree, ours = Path(temporary, "tree"), Path(temporary, "ours")
        ours.mkdir()
        for part in ("benchmarks", "recipes"):
            (ours / part).symlink_to(ROOT / part)
        made = _git("worktree", "add", "--detach", str(tree), reference)
        if made.returncode:
            raise ConfigError(f"there is no revision {reference!r:.80} here, nor a file: {made.stderr.strip()[-200:]}")
        try:
            yield folders(tree, ours)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def revision() -> str:
    """The commit of this tree, with a + where files differ from it; "unknown" without git."""
    commit, changed = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    return commit.stdout.strip() + "+" * bool(changed.stdout.strip()) if not commit.returncode else "unknown"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
