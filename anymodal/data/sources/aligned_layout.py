"""Files of values, and of tokens as published with 4M, as one of the layouts of datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.data.config import DataConfig
from anymodal.data.crops import stored_crop
from anymodal.data.files import storage
from anymodal.data.files.alignment import shape_of_picture
from anymodal.data.files.open import layout_of_files, names_of_parts
from anymodal.data.files.values import ValueSource
from anymodal.data.jobs.verify import report_damaged, stated_settings
from anymodal.data.looking import Looking
from anymodal.data.report import Report
from anymodal.data.sources.aligned import CROP_SETTINGS, AlignedDataset, AlignedSource
from anymodal.data.sources.base import Begin, DataLayout, Source, layout_of, spread
from anymodal.errors import AnymodalError, DataError, counted
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.tokens import Layout


@attrs.frozen
class AlignedFiles(DataLayout):
    """Files in one of the layouts of `anymodal.data.files.open.FILE_LAYOUTS`."""

    name: str = attrs.field(init=False, default="files")
    description: ClassVar[str] = "files of values, in folders or tars, here or behind an address"

    def recognizes(self, path: str) -> bool:
        return True

    def open(self, config: DataConfig, modalities: Mapping[str, Modality], layout: Layout) -> Source:
        return AlignedSource(config, modalities, layout)

    def look(
        self, config: DataConfig, modalities: Mapping[str, Modality] | None, count: int
    ) -> Iterator[tuple[str, dict[str, tuple[Modality, Any]]]]:
        chosen = modalities or found_modalities(config.path, config.names)
        dataset = AlignedDataset(config, chosen, layout_of(chosen))
        source = ValueSource(dataset.files, chosen)
        for index in spread(len(dataset.files), count):
            values = {}
            for name, part in dataset.values_of(index).items():
                with suppress(AnymodalError):  # the check says what cannot be read
                    modality = part.modality
                    values[name] = modality, modality.accept(source.read_file(modality.name, index, name))
            yield dataset.files.key(index), values

    def check(self, config: DataConfig, modalities: Mapping[str, Modality] | None, begin: Begin) -> Report:
        """Read all files that samples have; without modalities, those of all that are installed."""
        chosen = modalities or found_modalities(config.path, config.names)
        dataset = AlignedDataset(config, chosen, layout_of(chosen))
        if dataset.has_settings and modalities is None:
            raise DataError(f"{config.path} holds tokens of grids; say how large they are: --config MODEL.yaml")
        files = dataset.files
        stored = [part for part in (*dataset.parts, CROP_SETTINGS) if part in files.folders]
        report = Report(files.layout, len(files), dict.fromkeys(stored, 0), problems=files.problems)
        if not storage.is_remote(config.path):
            report_damaged(Path(config.path), report.problems)
        if files.shards:
            report.notes.append(f"{counted(len(files.shards), 'shard')}")
        values, looking, advance = ValueSource(files, chosen), Looking(report), begin(len(files))
        for index in range(len(files)):
            held = [part for part in stored if files.holds(part, index)]
            for part in held:
                report.counts[part] += 1
            if len(held) == 1 and len(stored) > 1:
                report.problems.add(held[0], "name found nowhere else", files.describe(index))
            _check_sample(report, dataset, values, looking, index)
            advance(1)
        looking.finish()
        for part in stored:
            if lacking := len(files) - report.counts[part]:
                report.notes.append(f"{counted(lacking, 'sample')} without {part}, which is no problem")
        return report


def _check_sample(report: Report, dataset: AlignedDataset, values: ValueSource, looking: Looking, index: int) -> None:
    """Read everything that a sample has."""
    settings = np.empty((0, 5))
    if dataset.has_settings:
        try:
            settings = dataset.crop_settings(index)
        except AnymodalError as error:
            report.problems.add(CROP_SETTINGS, "not usable", str(error))
    for name, part in dataset.tokens_of(index).items():
        try:
            for row in dataset.stored(name, index, len(settings)) if len(settings) else ():
                report.add_tokens(dataset.layout, part.stream, row, dataset.files.place(name, index))
        except AnymodalError as error:
            report.problems.add(name, "wrong tokens", str(error))
    seen: dict[str, tuple[Modality, Any]] = {}
    for name, part in dataset.values_of(index).items():
        try:
            modality, value = part.modality, values.read_file(part.modality.name, index, name)
            seen[name] = modality, modality.accept(value)
        except AnymodalError as error:
            kind = "not finite" if "NaN or infinite" in str(error) else "not readable"
            report.problems.add(name, kind, str(error))
    looking.add(dataset.files.describe(index), seen)
    extents = {name: modality.extent(value) for name, (modality, value) in seen.items()}
    extent = shape_of_picture(extents, {name: modality for name, (modality, _) in seen.items()})
    try:
        for row in range(len(settings)):
            stored_crop(settings, row, extent)
    except AnymodalError as error:
        report.problems.add(CROP_SETTINGS, "not within the picture", f"{dataset.files.describe(index)}: {error}")


def found_modalities(path: str, names: Mapping[str, str]) -> dict[str, Modality]:
    """The installed modalities that have files in a dataset, or to which `names` gives some.

    They have the settings that the manifest of a dataset made by a job states. Raises DataError.
    """
    present = names_of_parts(path)
    named = {name.partition(".")[0] for name in names} - {CROP_SETTINGS}
    classes = {name: registry().modality(name) for name in registry().modalities()}
    stated = stated_settings(Path(path))
    found = {
        name: _made(cls, stated.get(name, {}))
        for name, cls in classes.items()
        if name in named or present & {name, *cls.folders}
    }
    if not found:
        layout = layout_of_files(path)
        unit = layout.units.removesuffix("s")
        raise DataError(
            f"{path} has no {unit} of an installed modality; {layout.told(present)}"
            f" (--name MODALITY={unit.upper()} says which is which; pictures alone become a dataset"
            " with: anymodal label)"
        )
    return found


def _made(cls: type[Modality], settings: Mapping[str, Any]) -> Modality:
    """A modality with settings from a file, or without those that it cannot have any more."""
    try:
        return cls(**settings)
    except (AnymodalError, TypeError):
        return cls()
