"""Aligned folders: root/MODALITY/NAME.ext, the same NAME in every modality (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anymodal.errors import DataError
from anymodal.modality import Crop, Modality, centre_crops


class AlignedFolder:
    """Samples of a folder, in the order of their names. A sample may lack modalities.

    `modalities` are those to be read; one without a folder is derived from others where its plugin can do that exactly.
    `count` keeps only the first samples. Raises DataError if the folder holds none of the modalities.
    """

    def __init__(self, root: str | Path, modalities: Iterable[Modality], count: int | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"no such folder: {self.root}")
        self.modalities = {m.name: m for m in modalities}
        self._files = {name: self._list(m) for name, m in self.modalities.items()}
        self.names = sorted(set().union(*self._files.values()))[:count]
        if not self.names:
            found = sorted(p.name for p in self.root.iterdir() if p.is_dir())
            raise DataError(
                f"{self.root} has no files for {', '.join(self.modalities)}; its folders: {', '.join(found) or 'none'}"
            )

    def _list(self, modality: Modality) -> dict[str, Path]:
        for folder in (self.root / name for name in (modality.name, *modality.folders)):
            if folder.is_dir():
                return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in modality.suffixes}
        return {}

    def __len__(self) -> int:
        return len(self.names)

    def read(self, name: str, crop: Crop | None = None) -> dict[str, Any]:
        """Natural values of one sample by modality, cut to `crop` and resized.

        The default is the centred square; a value that does not know the picture's shape takes that of another one.
        """
        values: dict[str, Any] = {}
        for modality in self.modalities.values():
            if (path := self._files[modality.name].get(name)) is not None:
                values[modality.name] = modality.read(path)
        centres = centre_crops({each: self.modalities[each].extent(value) for each, value in values.items()})
        for each, centre in centres.items():
            values[each] = self.modalities[each].crop(values[each], crop or centre)
        for modality in self.modalities.values():
            if (
                modality.name not in values
                and modality.derived_from
                and all(s in values for s in modality.derived_from)
            ):
                values[modality.name] = modality.derive(values)
        return values
