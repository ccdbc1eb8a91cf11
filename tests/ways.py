"""The ways in which a value reaches a modality: each gives the value, or the sentence of the refusal."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from PIL import Image, UnidentifiedImageError

import anymodal as am
from anymodal.data.config import DataConfig
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.sources.base import layout_of
from anymodal.data.sources.huggingface import RowSource

ARRAYS, TEXTS = (".npy", ".npz"), (".json", ".txt")


@attrs.frozen
class Refused:
    """A value that was not taken."""

    reason: str


def outcome(way: Callable[[], Any]) -> Any:
    """The value that a way gives, or that it is refused in one sentence; other errors are faults."""
    try:
        return way()
    except am.AnymodalError as error:
        assert "\n" not in str(error)
        return Refused(str(error))
    except UnidentifiedImageError:  # Pillow does not open it for anybody
        return Refused("no picture")


def same(left: Any, right: Any) -> bool:
    """Whether two outcomes are the same value, or both refusals."""
    if isinstance(left, np.ndarray):
        floats = left.dtype.kind == "f"
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right, floats)
    if isinstance(left, Refused) or isinstance(right, Refused):
        return isinstance(left, Refused) and isinstance(right, Refused)
    return type(left) is type(right) and repr(left) == repr(right)


def agree(outcomes: Mapping[str, Any], lenient: Iterable[str] = ()) -> Any:
    """The one outcome of all ways; those that are `lenient` may refuse where others do not."""
    (first, value), *_ = outcomes.items()
    for way, other in outcomes.items():
        refused = way in lenient and isinstance(other, Refused)
        assert refused or same(value, other), f"{first}: {value!r:.300}\n{way}: {other!r:.300}"
    return value


def opened(content: bytes, decoded: bool) -> Image.Image:
    """A file as Pillow opens it, with or without its pixels."""
    picture = Image.open(io.BytesIO(content))
    if decoded:
        try:
            picture.load()
        except Exception as error:
            raise UnidentifiedImageError from error
    return picture


def of_path(one: Any, path: Path) -> Any:
    with Image.open(path) as picture:
        return one.accept(picture)


def by_hand(one: Any, content: bytes, path: Path) -> dict[str, Any]:
    """A file by its path and, if it is a picture, as Pillow opens it."""
    path.write_bytes(content)
    found = {"read": outcome(lambda: one.read(path)), "path": outcome(lambda: one.accept(path))}
    with path.open("rb") as file:
        found["open file"] = outcome(lambda: one.accept(file))
    if not one.is_text:
        found["path as text"] = outcome(lambda: one.accept(str(path)))
        found["content"] = outcome(lambda: one.accept(content))
    if path.suffix not in (*ARRAYS, *TEXTS) and not one.is_text:
        found |= {
            "picture": outcome(lambda: one.accept(opened(content, False))),
            "picture of a path": outcome(lambda: of_path(one, path)),
            "decoded picture": outcome(lambda: one.accept(opened(content, True))),
        }
    return found


def datasets(name: str, files: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    """The same files, by key and ending, as a dataset of each layout of files."""
    places = {way: folder / way for way in ("folders", "tars", "webdataset")}
    (places["folders"] / name).mkdir(parents=True)
    (places["tars"] / name).mkdir(parents=True)
    places["webdataset"].mkdir()
    for file, content in files.items():
        (places["folders"] / name / file).write_bytes(content)
    for place, named in ((places["tars"] / name, "{}.{}"), (places["webdataset"], "{}." + name + ".{}")):
        with tarfile.open(place / "00000.tar", "w") as tar:
            for file, content in files.items():
                info = tarfile.TarInfo(named.format(*file.split(".")))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return places


def in_datasets(one: Any, files: Mapping[str, bytes], folder: Path) -> dict[str, dict[str, Any]]:
    """The outcome of each file, by its key and ending, in every layout of files; other endings are left out."""
    known = {file: content for file, content in files.items() if Path(file).suffix in one.suffixes}
    found: dict[str, dict[str, Any]] = {file: {} for file in files}
    for way, place in datasets(one.name, known, folder).items() if known else ():
        source = open_values(place, [one])
        for file in known:
            found[file][way] = outcome(lambda s=source, f=file: _value(s, one.name, f.split(".")[0]))
    return found


def _value(source: ValueSource, name: str, key: str) -> Any:
    return source.read_file(name, list(source.names).index(key))


def in_rows(one: Any, raws: list[Any], folder: Path, features: Any = None) -> list[Any]:
    """The outcome of each value as a row of a saved table of `datasets`."""
    import datasets as library

    library.disable_progress_bars()
    library.Dataset.from_dict({one.name: raws}, features=features).save_to_disk(str(folder))
    source = RowSource(DataConfig(path=str(folder)), {one.name: one}, layout_of({one.name: one}))
    return [outcome(lambda k=k: source.values(k).get(one.name, Refused("absent"))) for k in range(len(raws))]
