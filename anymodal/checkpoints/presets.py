"""From the name of a model to its files: presets, folders, single files, and repositories on the Hub.

Presets are short names: those of installed plugins are folders, those of the formats are repositories.
"""

from __future__ import annotations

from pathlib import Path

from anymodal.checkpoints.formats import FORMATS
from anymodal.checkpoints.repository import CONFIG, REPOSITORY, Access, Files, Folder, Repository, SingleFile
from anymodal.errors import CheckpointError, UnknownModality, brief, nearest
from anymodal.plugins.registry import registry

EMBEDDED = "tiny"  # the small model that the extra of this name installs


def presets() -> dict[str, str]:
    """Where the presets are, by name: folders of installed plugins, and repositories of published models."""
    return {**_repositories(), **registry().presets()}


def _way_out(name: str) -> str:
    if name == EMBEDDED:
        return f"; its package is not installed: pip install 'anymodal[{name}]'"
    return f"{nearest(name, presets())} (`anymodal models` lists the presets)"


def _repositories() -> dict[str, str]:
    return {name: place for format in FORMATS.values() for name, place in format.presets().items()}


def resolve(name: str | Path, revision: str | None = None, access: Access | None = None) -> Files:
    """The files that a name stands for.

    Args:
        name: a preset, a folder, a single file, or a repository on the Hub.
        revision: a branch, tag or commit of a repository.
        access: how to reach the Hub.

    Raises:
        CheckpointError: the name is none of these.
    """
    if not isinstance(name, (str, Path)):
        raise CheckpointError(f"a model is loaded by a name or a path, got {brief(name)}")
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise CheckpointError(f"{str(name)!r} names the home of a user that there is not") from None
    if path.is_file():
        return SingleFile(path)
    text = str(name)
    repository = _repositories().get(text) or (text if REPOSITORY.fullmatch(text) else None)
    if repository is not None and not path.is_dir():
        return Repository(repository, revision, access or Access())
    return Folder(locate(path if path.is_dir() else name))


def locate(name: str | Path) -> Path:
    """The folder of a path, or of the preset of an installed plugin. Raises CheckpointError with what was tried."""
    folder = Path(name)
    if Folder(folder).find(CONFIG):
        return folder
    if folder.is_dir():
        raise CheckpointError(f"{folder} is a folder without {CONFIG}, so it is no checkpoint")
    try:
        found = Path(registry().preset(str(name)))
    except UnknownModality:
        hint = _way_out(str(name))
        raise CheckpointError(f"{str(name)!r} is neither a preset nor a folder nor a repository{hint}") from None
    if not Folder(found).find(CONFIG):
        raise CheckpointError(f"the preset {str(name)!r} has no checkpoint in {found}; install its package again")
    return found
