"""Masks of many pictures: a folder, a pattern or a list of files that are named as the pictures are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anymodal.data.files.words import files_of_word, is_many, samples_of
from anymodal.errors import ConfigError
from anymodal.generation.keeping import MASK_SUFFIXES


def masks_of(
    keep: Mapping[str, Any], files: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """What is kept of every sample alike, and by modality the masks of samples by their names.

    Args:
        keep: of words such as NAME=PART; a path is that of a mask for all, or names the masks of many.
        files: by modality the files of the samples.

    Raises:
        ConfigError: masks are of what has no files, or none of them is named as a picture is.
        AnymodalError: there are no such files.
    """
    same, masks = dict[str, Any](), dict[str, dict[str, str]]()
    for name, value in keep.items():
        if not isinstance(value, Path):
            same[name] = value
            continue
        if name not in files:
            raise ConfigError(f"--keep {name}={value}: masks are of pictures, and there are no files of {name!r}")
        if not is_many(str(value)):
            masks[name] = dict.fromkeys(files[name], str(value))
            continue
        found = samples_of([files_of_word(str(value), MASK_SUFFIXES)])
        masks[name] = {sample: found[sample] for sample in files[name] if sample in found}
        if not masks[name]:
            first, own = next(iter(files[name])), next(iter(found))
            raise ConfigError(
                f"--keep {name}={value}: no mask is named as a picture is, such as {first!r}; one is {own!r}"
            )
    return same, masks
