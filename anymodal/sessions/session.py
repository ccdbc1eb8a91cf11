"""One graph, opened when it is first asked, with torch tensors on the CPU in and out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anymodal.errors import CheckpointError, ConfigError, one_line
from anymodal.sessions.manifest import LARGEST, Graph, digest

Place = Callable[[str], Path]  # the path of a file by its name in the folder of a model
EXTRA = "anymodal[onnx]"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the first that there is runs what it can


def check_installed() -> None:
    """Raise ConfigError where onnxruntime is missing."""
    if find_spec("onnxruntime") is None:
        raise ConfigError(f"ONNX graphs are run by onnxruntime, which is missing: pip install '{EXTRA}'")


class Session:
    """A graph. Its file is found by `place` and opened when it is first asked; a damaged one is refused by its hash."""

    def __init__(self, place: Place, graph: Graph) -> None:
        self.place, self.graph = place, graph
        self._session: Any = None

    def __call__(self, **tensors: Tensor) -> list[Tensor]:
        """The outputs for inputs by name. Raises CheckpointError for a graph that is missing, damaged or fails."""
        if self._session is None:
            self._session = self._opened()
        given = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
        try:
            return [torch.from_numpy(array) for array in self._session.run(None, given)]
        except Exception as error:  # onnxruntime has classes of its own for each reason
            raise CheckpointError(f"{self.graph.file} failed: {one_line(error, 300)}") from error

    def _opened(self) -> Any:
        check_installed()
        import onnxruntime

        path = self.place(self.graph.file)
        if path.stat().st_size > LARGEST or digest(path) != self.graph.sha256:
            raise CheckpointError(f"{path} is not the graph that was exported; run anymodal export again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            raise CheckpointError(f"{path} cannot be run: {one_line(error, 300)}") from error
