"""What a person would see in the values of a dataset: parts that do not belong together, holes, nothing, repetition."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from anymodal.data.files.alignment import misaligned
from anymodal.data.report import Report, ValueRange
from anymodal.modality import Modality

MOST_TEXTS = 1_000_000  # hashes that are kept to find repetitions


class Looking:
    """Looks at the values of one sample after the other; `finish` adds to the report what is seen only in many."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._unknown: dict[str, list[float]] = {}
        self._constant: dict[str, int] = {}
        self._texts: dict[str, dict[bytes, int]] = {}

    def add(self, place: str, values: Mapping[str, tuple[Modality, Any]]) -> None:
        """Look at the natural values of a sample, by part; `place` is where it lies."""
        extents = {part: modality.extent(value) for part, (modality, value) in values.items()}
        if found := misaligned(extents, {part: modality for part, (modality, _) in values.items()}):
            part, what = found
            kind = "turned" if "turned" in what else "another shape"
            self.report.problems.add(part, kind, f"{place}: {what}")
        for part, (modality, value) in values.items():
            known = modality.measured(value)
            if known is None and modality.nan_is_missing and isinstance(value, np.ndarray):
                known = ~np.isnan(value)
            if known is not None:
                self._unknown.setdefault(part, []).append(1 - float(np.mean(known)))
            if modality.aligned and isinstance(value, np.ndarray) and value.size > 1 and _is_constant(value):
                self._constant[part] = self._constant.get(part, 0) + 1
            if isinstance(value, np.ndarray):
                self.report.ranges.setdefault(part, ValueRange(modality.unit)).add(value)
            if isinstance(value, str):
                seen = self._texts.setdefault(part, {})
                key = hashlib.blake2b(" ".join(value.split()).lower().encode(), digest_size=12).digest()
                if key in seen or len(seen) < MOST_TEXTS:
                    seen[key] = seen.get(key, 0) + 1

    def finish(self) -> None:
        """Add notes, which are no problems by themselves."""
        for part, shares in self._unknown.items():
            if any(shares):
                whole = sum(share == 1 for share in shares)
                nothing = f"; {whole} of {len(shares)} hold nothing else" if whole else ""
                self.report.notes.append(f"{np.mean(shares):.1%} of {part} is unknown{nothing}")
        for part, count in self._constant.items():
            self.report.notes.append(f"{count} of {part} are the same everywhere")
        for part, seen in self._texts.items():
            if again := sum(seen.values()) - len(seen):
                self.report.notes.append(f"{again} of {sum(seen.values())} {part} repeat another")


def _is_constant(value: np.ndarray) -> bool:
    return bool((value == value.reshape(-1, *value.shape[2:])[0]).all())
