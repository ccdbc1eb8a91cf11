"""The outcome of one case: an error against its tolerance, or the reason why it was not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs
import numpy as np
import torch

from anymodal.errors import AnymodalError


@attrs.frozen
class Result:
    """A case with its largest error and the tolerance of its set; `skipped` says what is missing to run it."""

    case: str
    error: float = 0.0
    tolerance: float = 0.0
    note: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return not self.skipped and self.error <= self.tolerance

    @property
    def failed(self) -> bool:
        return not self.skipped and not self.error <= self.tolerance

    def line(self) -> str:
        if self.skipped:
            return f"skip  {self.case}: {self.skipped}"
        verdict = "ok  " if self.passed else "FAIL"
        note = f"  {self.note}" if self.note else ""
        return f"{verdict}  {self.case}  error {self.error:.3g}  tolerance {self.tolerance:.3g}{note}"


def skip(case: str, reason: str) -> Result:
    return Result(case, skipped=reason)


def worst(case: str, errors: Mapping[str, float], tolerance: float, note: str = "") -> Result:
    """A case with the largest of several errors by place; one that is no number is larger than all."""
    place = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return Result(case, errors[place], tolerance, f"{note}largest in {place}")


def gap(mine: object, theirs: object) -> float:
    """Largest absolute difference; infinity where shapes differ or a number is not finite on one side only."""
    a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, np.float64) for x in (mine, theirs))
    if a.shape != b.shape:
        return float("inf")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def attempt(case: str, run: Callable[[], Result]) -> Iterator[Result]:
    """The result of a case; one that our code refuses has failed, and says why."""
    try:
        yield run()
    except AnymodalError as error:
        yield Result(case, float("inf"), 0.0, str(error))
    except (KeyError, OSError, ValueError) as error:
        yield Result(case, float("inf"), 0.0, f"damaged case: {type(error).__name__}: {error}")
