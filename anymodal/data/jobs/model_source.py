"""A model as jobs use it: how it is loaded, in every process that helps, and which one it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.checkpoints.presets import resolve
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import CONFIG, WEIGHTS, Access, Files, Folder, Repository
from anymodal.data.jobs.receipts import checksum

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel

ACCESS = ("cache_dir", "local_files_only", "token")


@attrs.frozen
class ModelSource:
    """The name of a model, and the further arguments of `anymodal.load`."""

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)  # among them a token

    def load(self, device: Any = None) -> AnyModel:
        """The model, on `device` where none was asked for. Raises as `anymodal.load`."""
        from anymodal.anymodel import load

        return load(self.name, **{**self.options, "device": self.options.get("device") or device})

    @property
    def _files(self) -> Files:
        access = {name: self.options[name] for name in ACCESS if name in self.options}
        return resolve(self.name, self.options.get("revision"), Access(**access))

    def describe(self) -> dict[str, Any]:
        """What its values depend on: the commit of a repository, or the checksum of its files.

        Raises CheckpointError.
        """
        files = self._files
        settings = {name: self.options.get(name) for name in ("dtype", "precision", "tokenizers", "vocabulary")}
        known = {name: str(value) for name, value in settings.items() if value is not None}
        if isinstance(files, Repository):
            files.path(CONFIG)
            return {"repository": files.name, "commit": files.commit, **known}
        if isinstance(files, Folder):
            kinds = (".json", ".safetensors")
            found = sorted(path for path in files.root.rglob("*") if path.suffix in kinds and path.is_file())
        else:
            found = [files.path(WEIGHTS)]
        return {"checkpoint": attrs.asdict(checksum(found)), **known}

    def settings_of(self, modality: str) -> dict[str, Any]:
        """The plain settings of a modality that a checkpoint of ours states. Raises CheckpointError."""
        records: Any = read_raw_config(self._files).values
        for part in ("modalities", modality, "settings"):
            records = records.get(part) if isinstance(records, Mapping) else None
        settings = records if isinstance(records, Mapping) else {}
        return {name: value for name, value in settings.items() if isinstance(value, (str, int, float))}
