"""Values that are float32 arrays as such: how they are read, written and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.content import path_of
from anymodal.errors import ValueProblem
from anymodal.families.descriptions import as_described, describe, read_described, write_described
from anymodal.files import naming, written_as
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class ArrayModality(Modality):
    """Values are float32 arrays, files .npy; a family says of which shape by `expected` and `fits`.

    `read` takes a file whose shape fits the settings that it states; `accept` takes none but this instance's own shape.
    """

    legible: bool = False

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
            array, description = read_described(path, self)
            reader: Any = as_described(self, description)
            self.check_stated(reader)
            return self._checked(array) if self.fits(array.shape) else reader._checked(array)

    def check_stated(self, reader: Any) -> None:
        """Raise ValueProblem for a file that states settings, those of `reader`, in which its numbers mean others."""

    def write(self, value: Any, path: Path) -> None:
        path = written_as(path, f"{self.name} is written as an array", ".npy", self.suffixes)
        write_described(np.asarray(value, np.float32), path, describe(self))

    def accept(self, value: Any) -> np.ndarray:
        if not self.is_file(value):
            return self._checked(value)
        with path_of(value, self.suffixes) as path, naming(path):
            return self._checked(self.read(path))

    def _repair(self, shape: tuple[int, ...]) -> str:
        """The line of code that gives an array of that shape one that fits, "" where none does."""
        if len(shape) > 1 and self.fits(shape[1:]):
            return "value[0]"
        return "value.transpose(1, 2, 0)" if len(shape) == 3 and self.fits((*shape[1:], shape[0])) else ""

    def _checked(self, value: Any) -> np.ndarray:
        array = as_array(value)
        if not self.fits(array.shape) or array.dtype.kind not in "iuf":
            raise self.problem(value, self.expected, self._repair(array.shape))
        with np.errstate(over="ignore"):  # what float32 does not reach is infinite
            return array.astype(np.float32)


def as_array(value: Any) -> np.ndarray:
    """The value as an array, of type object where it cannot become one of numbers.

    Raises ValueProblem for an array that masks some of its numbers, which would come out from under the mask.
    """
    if getattr(value, "mask", False) is not False and hasattr(value, "filled") and np.any(value.mask):
        raise ValueProblem("masked numbers mean nothing here; fill them, as value.filled(0) does")
    if callable(getattr(value, "detach", None)) and callable(getattr(value, "cpu", None)):
        value = _of_tensor(value)
    try:
        array = np.asarray(value)
    except Exception:  # of whatever says that it is an array
        held = np.empty((), object)
        held[()] = value  # so that the error can name it
        return held
    if array.dtype.type.__module__ == "ml_dtypes":  # arrays of JAX: numpy sums and sorts such numbers wrongly
        return array.astype(np.int8 if "int" in array.dtype.name else np.float32)
    return array


def _of_tensor(value: Any) -> Any:
    """A tensor of PyTorch on the CPU, without its graph, in a type that numpy has; the value itself of strange ones."""
    try:
        plain = value.detach().cpu()
        return plain.float() if str(plain.dtype) == "torch.bfloat16" else plain
    except Exception:  # of whatever says that it is a tensor
        return value
