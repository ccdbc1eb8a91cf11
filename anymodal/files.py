"""Files from outside are hostile, files we write are whole.

Reading is bounded in size and never unpickles; writing goes to a temporary name beside the target and is renamed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.errors import CheckpointError, DataError, ValueProblem, cause

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

MAX_PIXELS = 128 * 1024 * 1024
MAX_BYTES = 1024**3
MAX_TEXT_BYTES = 16 * 1024**2


def _checked(path: Path, limit: int) -> Path:
    if not path.exists():
        raise ValueProblem(f"no such file: {path}")
    if path.is_dir():
        raise ValueProblem(f"{path} is a folder, a file is needed")
    if (size := path.stat().st_size) > limit:
        raise ValueProblem(f"{path} has {size} bytes, more than the limit of {limit}")
    return path


def read_picture(path: Path) -> Image:
    """A decoded picture with its EXIF rotation applied. Raises ValueProblem for what is not one, or is too large."""
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    _checked(path, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueProblem(_too_large(path, f"{picture.width} x {picture.height} pixels"))
                picture.load()
                return ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError:
        raise ValueProblem(_too_large(path, "too many pixels")) from None
    except UnidentifiedImageError:
        raise ValueProblem(f"{path} is not a picture that can be read (is it another kind of file?)") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, ValueProblem):
            raise
        raise ValueProblem(f"{path} cannot be decoded, it may be damaged or cut short: {error}") from None


def _too_large(path: Path, what: str) -> str:
    return f"{path} has {what}, more than the limit of {MAX_PIXELS // 1024**2} megapixels; make it smaller first"


def read_array(path: Path) -> np.ndarray:
    """A numeric .npy array. Raises ValueProblem; pickled objects are refused."""
    try:
        array = np.load(_checked(path, MAX_BYTES), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        if isinstance(error, ValueProblem):
            raise
        raise ValueProblem(f"{path} is not a numeric .npy array: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise ValueProblem(f"{path} is not a numeric .npy array")
    return array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The numeric arrays of an .npz file by name. Raises ValueProblem; pickled objects and zip bombs are refused."""
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(_checked(path, MAX_BYTES)) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > MAX_BYTES:
                raise ValueProblem(f"{path} unpacks to {size} bytes, more than the limit of {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except ValueProblem:
        raise
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueProblem(f"{path} is not an .npz file of numeric arrays: {error}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise ValueProblem(f"{path} holds {name!r}, which is not a numeric array")
    return arrays


def write_array(array: np.ndarray, path: Path) -> None:
    """Write an .npy file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_text(path: Path) -> str:
    """UTF-8 text. Raises ValueProblem."""
    try:
        return _checked(path, MAX_TEXT_BYTES).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueProblem(f"{path} is not UTF-8 text") from None


def read_json(path: Path) -> Any:
    """Parsed JSON. Raises ValueProblem with the line of the first mistake."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueProblem(f"{path} is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueProblem(f"{path} is nested too deeply") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint. Raises CheckpointError."""
    try:
        raw = read_json(path)
    except ValueProblem as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} must hold one JSON object")
    return raw


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes the place of `path` when the block ends without an error.

    Raises DataError if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


LOCK = ".lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder. Raises DataError if one is at work there.

    Folders that are new and in which nothing was made are removed again. File systems that know no locks have none.
    """
    from filelock import FileLock, Timeout

    new = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):
            lock.acquire(timeout=0)
    except Timeout:
        raise DataError(
            f"another run is writing to {folder}; wait for it, or choose another folder for --out"
        ) from None
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {cause(error)}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if new and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                for path in new:
                    path.rmdir()
        lock.release()


def write_json(value: Any, path: Path) -> None:
    """Write indented JSON with a final newline, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
