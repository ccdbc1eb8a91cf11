"""Values that are float32 arrays as such: how they are read, written and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.errors import ValueProblem
from anymodal.files import naming, read_array, write_array
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class ArrayModality(Modality):
    """Values are float32 arrays, files .npy; a family says of which shape by `expected` and `fits`."""

    @property
    def expected(self) -> str:
        """What the values are, for people."""
        raise NotImplementedError(f"{type(self).__name__}.expected")

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether values may have that shape."""
        raise NotImplementedError(f"{type(self).__name__}.fits")

    def read(self, path: Path) -> np.ndarray:
        path = Path(path)
        with naming(path):
            return self._checked(read_array(path))

    def write(self, value: Any, path: Path) -> None:
        write_array(np.asarray(value, np.float32), Path(path))

    def accept(self, value: Any) -> np.ndarray:
        return self.read(Path(value)) if isinstance(value, (str, Path)) else self._checked(value)

    def _checked(self, value: Any) -> np.ndarray:
        array = as_array(value)
        if not self.fits(array.shape) or array.dtype.kind not in "iuf":
            raise self.problem(value, self.expected)
        with np.errstate(over="ignore"):  # what float32 does not reach is infinite
            return array.astype(np.float32)


def as_array(value: Any) -> np.ndarray:
    """The value as an array, of type object where it cannot become one of numbers.

    Raises ValueProblem for an array that masks some of its numbers, which would come out from under the mask.
    """
    if getattr(value, "mask", False) is not False and hasattr(value, "filled") and np.any(value.mask):
        raise ValueProblem("masked numbers mean nothing here; fill them, as value.filled(0) does")
    try:
        return np.asarray(value)
    except Exception:  # of whatever says that it is an array
        return np.empty((), object)
