"""Natural values of an aligned dataset, in folders or sharded tars, local or behind an address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.crops import Crop, center_crops
from anymodal.data.files.alignment import misaligned, shape_of_picture
from anymodal.data.files.index import FileIndex, Shard, Wanted
from anymodal.data.files.open import open_files
from anymodal.errors import DataError, PluginError, ValueProblem, one_line, system_errors
from anymodal.modality import Modality

Extent = tuple[float, float]
DrawCrop = Callable[[Extent | None], Crop]


class ValueSource:
    """Samples in the order of their names. A sample may lack modalities; see `open_values`."""

    def __init__(self, files: FileIndex, modalities: Mapping[str, Modality]) -> None:
        self.files, self.modalities = files, dict(modalities)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def names(self) -> Sequence[str]:
        """The names of the samples; in tars they need only be different within a shard."""
        return _Names(self.files)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards in their order, none for folders."""
        return self.files.shards

    @property
    def found(self) -> list[str]:
        """The modalities that have files, and those that are derived from such."""
        stored = {name for name in self.modalities if name in self.files.folders}
        return [name for name, m in self.modalities.items() if name in stored or _derivable(m, stored)]

    def held(self, index: int) -> list[str]:
        """The modalities that a sample has files of, and those that are derived from such."""
        stored = {name for name in self.modalities if self.files.holds(name, index)}
        return [name for name, m in self.modalities.items() if name in stored or _derivable(m, stored)]

    def describe(self, index: int) -> str:
        """Where a sample lies, for people."""
        return self.files.describe(index)

    def read(self, index: int, crop: Crop | DrawCrop | None = None) -> dict[str, Any]:
        """Natural values of one sample by modality, cut to `crop` and resized.

        `crop` may be a function of the picture's extent (width, height): that of the photograph, else of the first
        value that has one, None where none has. The default is the centered square; a value that does not know the
        picture's shape takes that of another one.
        Raises ValueProblem or DataError, naming the file, if one of them cannot be read or holds NaN or infinity, and
        for values that do not show the same picture.
        """
        parts = {name: name for name in self.modalities if self.files.holds(name, index)}
        return self.derive(self.cut(self.read_files(index, parts), crop))

    def read_files(self, index: int, parts: Mapping[str, str]) -> dict[str, Any]:
        """The whole natural values of modalities, each from a part of the dataset. Raises as `read`."""
        return {name: self.read_file(name, index, part) for name, part in parts.items()}

    def cut(self, values: Mapping[str, Any], crop: Crop | DrawCrop | None = None) -> dict[str, Any]:
        """The values of a sample cut to `crop`, as `read` does it."""
        extents = {name: self.modalities[name].extent(value) for name, value in values.items()}
        if found := misaligned(extents, self.modalities):
            raise ValueProblem(found[1])
        if callable(crop):
            crop = crop(shape_of_picture(extents, self.modalities))
        centers = center_crops(extents)
        return {name: self.modalities[name].crop(value, crop or centers[name]) for name, value in values.items()}

    def derive(self, values: Mapping[str, Any], leave: Collection[str] = ()) -> dict[str, Any]:
        """The values, and those computed from them exactly, at their own size, but for the modalities to `leave`."""
        whole = dict(values)
        for name, modality in self.modalities.items():
            if name not in whole and name not in leave and _derivable(modality, whole):
                computed = modality.derive({source: whole[source] for source in modality.derived_from})
                whole[name] = modality.crop(computed, Crop())
        return whole

    def read_file(self, name: str, index: int, part: str | None = None) -> Any:
        """The whole natural value of one modality of a sample, from the part of its name by default. As `read`."""
        place = self.files.place(part or name, index)
        with self.files.path(part or name, index) as path:
            try:
                value = self.modalities[name].accept(Path(path))
            except ValueProblem as error:
                reason = str(error).replace(str(path), place)
                raise ValueProblem(reason if place in reason else f"{place}: {reason}") from None
            except (DataError, PluginError):
                raise
            except (Exception, SystemExit) as error:  # of a plugin that meets a damaged file
                raise ValueProblem(f"{place} cannot be read: {type(error).__name__}: {one_line(error, 300)}") from None
        if wrong := unfinite(value, nan=not self.modalities[name].nan_is_missing):
            raise ValueProblem(f"{place} holds {wrong}, which no model can learn from; repair it or leave it out")
        return value


@system_errors(DataError)
def open_values(
    path: str | Path,
    modalities: Iterable[Modality],
    *,
    names: Mapping[str, str] | None = None,
    count: int | None = None,
) -> ValueSource:
    """An aligned dataset: files of the same name in folders, or in sharded tars, or tars of whole samples.

    Args:
        path: a folder, a tar, or an address that fsspec knows.
        modalities: those to be read; one without files is derived from others where its plugin can do that exactly.
        names: the folders (in tars of whole samples, the extensions) of modalities that are named otherwise.
        count: only the first samples.

    Returns:
        The natural values of the samples, in the order of their names.

    Raises:
        DataError: there is no such place, or no file of any of the modalities.
    """
    by_name = {m.name: m for m in modalities}
    return ValueSource(open_files(str(path), wanted_values(by_name, names or {}), count), by_name)


def wanted_values(modalities: Mapping[str, Modality], names: Mapping[str, str]) -> dict[str, Wanted]:
    """Where the files of modalities may lie."""
    return {
        name: Wanted((names[name],) if name in names else (name, *modality.folders), modality.suffixes)
        for name, modality in modalities.items()
    }


def _derivable(modality: Modality, given: Collection[str]) -> bool:
    return bool(modality.derived_from) and all(source in given for source in modality.derived_from)


class _Names(Sequence[str]):
    def __init__(self, files: FileIndex) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._files.key(k) for k in range(*index.indices(len(self)))]
        return self._files.key(range(len(self))[index])


def unfinite(value: Any, nan: bool = True) -> str:
    """What is not finite in a natural value, in words, or an empty string; without `nan`, what is infinite."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return ""
        bad = value.size - int(np.isfinite(value).sum()) if nan else int(np.isinf(value).sum())
        kind = "NaN or infinite" if nan else "infinite"
        return f"{bad} of {value.size} numbers that are {kind}" if bad else ""
    if isinstance(value, float):
        return "" if np.isfinite(value) or (np.isnan(value) and not nan) else str(value)
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif attrs.has(type(value)):
        parts = (getattr(value, field.name) for field in attrs.fields(type(value)))
    return next((wrong for part in parts if (wrong := unfinite(part, nan))), "")
