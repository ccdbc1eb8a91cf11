"""What an index learned of its queries: kept in files beside its vectors, read when it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs
import numpy as np

from anymodal.errors import DataError, ValueProblem, brief, system_errors
from anymodal.files import only_writer, remove_partial
from anymodal.retrieval.calibration import (
    ENOUGH_PAIRS,
    Calibration,
    asked_by,
    learned,
    map_calibration,
    write_calibration,
)
from anymodal.retrieval.query import drawn, reader
from anymodal.retrieval.record import CalibrationRecord, IndexRecord, read_index_record, write_index_record
from anymodal.retrieval.shards import file_record, unit

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel

CALIBRATIONS = "calibrations"
log = logging.getLogger(__name__)


class Calibrations:
    """The calibrations that the record of an index in a folder names, by what is asked by.

    Their files are opened at once, so that they stay as they are when others calibrate again.
    """

    def __init__(self, folder: Path, record: IndexRecord) -> None:
        self.folder, self.channels, self.records = folder, record.channels, record.calibrations
        self._opened: dict[str, Calibration] = {}
        for asked in self.records:
            with suppress(DataError):  # it is told when it is asked for
                self._opened[asked] = self._open(asked)
        self._checked: WeakKeyDictionary[AnyModel, set[str]] = WeakKeyDictionary()

    def moved(self, queries: np.ndarray, names: Iterable[str], model: AnyModel | None = None) -> np.ndarray:
        """Queries (n, channels) of length 1 by modalities together, calibrated if that was learned.

        Raises DataError for a damaged file, and if what reads these modalities in the model was another then.
        """
        asked = asked_by(names)
        if (record := self.records.get(asked)) is None:
            return queries
        if model is not None and asked not in (checked := self._checked.setdefault(model, set())):
            if told := record.difference(*reader(model, asked)):
                raise DataError(f"{self.folder} was calibrated for {asked} with another {told}; calibrate it again")
            checked.add(asked)
        found = self._opened[asked] if asked in self._opened else self._open(asked)
        if not found.finite:
            path = self.folder / record.file
            raise DataError(f"{path} is damaged: it holds numbers that are not finite; calibrate the index again")
        return found(queries)

    def _open(self, asked: str) -> Calibration:
        record = self.records[asked]
        return map_calibration(self.folder / record.file, record.size, self.channels)


def calibrate(folder: Path, by: str, model: AnyModel, inputs: Sequence[Mapping[str, Any]], vectors: np.ndarray) -> None:
    """Learn from pairs, and keep that beside an index, in place of what it knew of the same; see `Index.calibrate`."""
    if not isinstance(inputs, (list, tuple)) or not all(isinstance(each, Mapping) for each in inputs):
        raise ValueProblem(f"pairs are a list of inputs such as {{'caption': 'a red car'}}, got {brief(inputs)}")
    kinds = sorted({asked_by(each) for each in inputs})
    if len(kinds) != 1 or by in inputs[0]:
        raise ValueProblem(f"a calibration is of queries by the same modalities, other than {by!r}, got {kinds}")
    asked = kinds[0]
    wanted = unit(vectors, "vectors of pairs")
    whole = learned(drawn(model, inputs, by, draws=1, seed=0), wanted)
    if len(inputs) < ENOUGH_PAIRS:
        log.warning(
            "%s: calibrated from %d pairs; with fewer than %d, some queries find no more than without",
            asked,
            len(inputs),
            ENOUGH_PAIRS,
        )
    with only_writer(folder), system_errors(DataError):
        (folder / CALIBRATIONS).mkdir(exist_ok=True)
        remove_partial(folder / CALIBRATIONS)
        record = read_index_record(folder)
        file = f"{CALIBRATIONS}/{whole.file_name}"
        write_calibration(whole, folder / file)
        made = CalibrationRecord(file, *file_record(folder / file), len(inputs), *reader(model, asked))
        kept = {**record.calibrations, asked: made}
        write_index_record(attrs.evolve(record, calibrations=kept), folder)
        for old in {each.file for each in record.calibrations.values()} - {each.file for each in kept.values()}:
            (folder / old).unlink(missing_ok=True)
