"""Saving into a folder: the checkpoint there is replaced as a whole, and what belongs to none stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from anymodal.checkpoints.atomic import replacing_folder, whole_folder
from anymodal.checkpoints.repository import CONFIG, INDEX, SHARDS, WEIGHTS
from anymodal.errors import CheckpointError
from anymodal.files import read_object

WEIGHT_FILES = (WEIGHTS, INDEX, SHARDS)


@attrs.frozen
class Kind:
    """A kind of checkpoint in a folder.

    `title` is what it is called in errors, `recognizes` tells its config.json from others, and `files` gives glob
    patterns of the files that a checkpoint with that config consists of; of an empty config, of any checkpoint.
    """

    title: str
    recognizes: Callable[[Mapping[str, Any]], bool]
    files: Callable[[Mapping[str, Any]], Iterable[str]]

    def owned(self, folder: Path) -> list[str]:
        """Patterns of the files of the checkpoint in a folder; none if there is no checkpoint of this kind."""
        config = _config(folder)
        return list(self.files(config)) if self.recognizes(config) else []

    def check_free(self, folder: Path) -> None:
        """Raise CheckpointError if files in a folder would be replaced that belong to no checkpoint of this kind."""
        whole = whole_folder(folder)
        if self.recognizes(_config(whole)):
            return
        taken = next((path for pattern in (CONFIG, *self.files({})) for path in whole.glob(pattern)), None)
        if taken is not None:
            raise CheckpointError(
                f"{folder} holds {taken.relative_to(whole)}, which is not of {self.title} and would be replaced; choose"
                " another folder, or move that away"
            )


def _config(folder: Path) -> Mapping[str, Any]:
    """The config in a folder; empty if there is none that can be read."""
    try:
        return read_object(folder / CONFIG)
    except CheckpointError:
        return {}


@contextmanager
def replacing_checkpoint(folder: Path, kind: Kind) -> Iterator[Path]:
    """A temporary folder to write a checkpoint to, which takes the place of the one in `folder` when the block ends.

    Raises:
        CheckpointError: `folder` holds files that would be replaced and are not of a checkpoint of that kind.
        DataError: it cannot be written.
    """
    kind.check_free(folder)
    with replacing_folder(folder, kind.owned, CONFIG) as staging:
        yield staging
