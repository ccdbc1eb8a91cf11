"""Weights in memory under their published names, with the face of an open safetensors file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Size, Tensor, dtype


class InMemory:
    """What `Reader` asks of a file, over a dictionary of tensors."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state

    def keys(self) -> Iterable[str]:
        return self._state.keys()

    def get_slice(self, name: str) -> _Slice:
        return _Slice(self._state[name])

    def get_tensor(self, name: str) -> Tensor:
        return self._state[name]


class _Slice:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    @property
    def shape(self) -> Size:
        return self._tensor.shape

    @property
    def dtype(self) -> dtype:
        return self._tensor.dtype

    def __getitem__(self, part: slice) -> Tensor:
        return self._tensor[part]
