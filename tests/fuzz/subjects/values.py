"""Each modality with its own examples in every format it writes, and the kinds of files that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from file_kinds import FILE_KINDS

import anymodal as am
from anymodal.crops import Crop
from anymodal.testing.values import examples
from anymodal.text import Vocabulary
from fuzz.subjects.base import Subject


def natural(vocabulary: Vocabulary, folder: Path) -> Iterator[Subject]:
    """Each modality with its own examples in every format it writes, and the kinds of files that it reads."""
    for name in am.modalities():
        kind = am.registry().modality(name)
        modality = kind(**{"size": 2 * getattr(kind, "patch", 16)} if "size" in kind.settings else {})
        modality.vocabulary = vocabulary if modality.spelled else None
        seen: set[bytes] = set()
        for file, content in _own_files(modality, folder):
            if content not in seen and len(content) < 300_000:
                seen.add(content)
                read = partial(_value, modality, file)
                weight = 0.1 if name == "sam_instance" and file.endswith(".png") else 1  # slow
                yield Subject("values", f"{name} {file[1:]} {len(seen)}", {file: content}, (file,), read, weight)


def _own_files(modality: am.Modality, folder: Path) -> Iterator[tuple[str, bytes]]:
    for example in examples(modality)[:3]:
        for suffix in modality.suffixes[:4]:
            path = folder / f"a{suffix}"
            try:
                modality.write(example.value, path)
                modality.read(path)
            except am.AnymodalError:  # not every value goes into every format
                continue
            yield path.name, path.read_bytes()
    for name, make in FILE_KINDS.values():
        path = folder / name
        path.write_bytes(make())
        try:
            modality.read(path)
        except am.AnymodalError:
            continue
        if path.suffix in modality.suffixes:
            yield name, path.read_bytes()


def _value(modality: am.Modality, name: str, folder: Path) -> Any:
    """A value that is read, after all that follows: cut, shown, made ready, compared with itself."""
    value = modality.read(folder / name)
    if extent := modality.extent(value):
        ready = modality.preprocess(modality.crop(value, Crop.center(*extent)))
        if not np.isfinite(ready).all():
            raise ArithmeticError("a tensor that is not finite")
    elif modality.has_tokenizer:
        modality.parts(value)
    elif modality.spelled:
        modality.tokenize([value])
    modality.show(value, 64)
    modality.score([value], [value])
    return value
