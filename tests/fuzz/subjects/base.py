"""What a subject is, and what is compared."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from small_runs import GRID, VIT

import anymodal as am
from anymodal.tokenizers.tokenizer import VQTokenizer


@attrs.frozen(eq=False)
class Subject:
    """Files by path; those whose names are in `victims` are changed. `weight`: how often, beside others of its group.

    `plain` reads the content of the changed file without the product, as `read` does, or raises NotPlain.
    """

    group: str
    name: str
    files: Mapping[str, bytes]
    victims: tuple[str, ...]
    read: Callable[[Path], Any]
    weight: float = 1.0
    plain: Callable[[bytes], Any] | None = None
    spelled_anew: bool = True  # whether files may be spelled in another way and mean the same
    writes: bool = False  # whether `read` writes to the folder
    folders: tuple[str, ...] = attrs.field(init=False)
    _whole: dict[Path, Path] = attrs.field(init=False, factory=dict)

    @folders.default
    def _folders(self) -> tuple[str, ...]:
        inside = {str(folder) for name in self.files for folder in Path(name).parents}
        return tuple(sorted(inside - {"."}))

    def whole(self, root: Path) -> Path:
        """A folder inside `root` with all files as they are, to be linked to."""
        if root not in self._whole:
            folder = Path(tempfile.mkdtemp(dir=root, prefix="whole-"))
            for name, content in self.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            self._whole[root] = folder
        return self._whole[root]


@cache
def scratch() -> Path:
    """A folder of this process that goes with it, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(dir=base, prefix="anymodal-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def digest(value: Any) -> str:
    """What two equal values have in common, and two different ones have not."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value)
        _word(total, f"{value.dtype.newbyteorder('=')}{value.shape}")
        total.update(value.astype(value.dtype.newbyteorder("="), copy=False).tobytes())
    elif isinstance(value, Mapping):
        _word(total, f"{len(value)} by name")
        for key in value:
            _word(total, str(key))
            _add(total, value[key])
    elif isinstance(value, (list, tuple)):
        _word(total, f"{len(value)} in a row")
        for each in value:
            _add(total, each)
    elif attrs.has(type(value)):  # whose `repr` leaves numbers of large arrays out
        _word(total, type(value).__name__)
        _add(total, attrs.asdict(value, recurse=False, filter=lambda field, _: bool(field.repr)))
    else:
        _word(total, repr(value))


def _word(total: Any, text: str) -> None:
    """A text with its length before it, so that two of them are not another two."""
    encoded = text.encode("utf-8", "surrogatepass")
    total.update(f"{len(encoded)}:".encode() + encoded)


def small(name: str) -> am.Modality:
    modality = am.registry().modality(name)(**GRID, **({"channels": 4} if name == "semseg" else {}))
    modality.tokenizer = VQTokenizer(modality.tokenizer_config(VIT, VIT)).eval()
    return modality


def held(folder: Path) -> dict[str, bytes]:
    """The files of a folder by path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
