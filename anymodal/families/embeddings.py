"""Dense embeddings: rows of numbers from left to right, such as a text encoder makes; only ever an input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import GenerationError
from anymodal.families.arrays import ArrayModality
from anymodal.families.codec import MOST_WIDTH
from anymodal.families.features import cosine_similarity, finite, principal_colors
from anymodal.families.text import MOST_TOKENS
from anymodal.files import naming, read_arrays
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np


class EmbeddingModality(ArrayModality):
    """Values are float32 arrays (n, width), n at least 1; the model reads the first `length` rows of them.

    Files are .npy arrays, or .npz files as 4M's: `emb` (texts, n, width) and, optionally, `mask_valid` (texts, n) that
    says which rows count; the first text is taken. What is not finite becomes 0. Crops and flips leave them alone.
    """

    family: ClassVar[str] = "embedding"
    settings: ClassVar[tuple[str, ...]] = ("width", "length")
    suffixes: ClassVar[tuple[str, ...]] = (".npy", ".npz")
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {"width": MOST_WIDTH, "length": MOST_TOKENS}
    width: int = 4096
    length: int = 77

    def streams(self) -> tuple[Stream, ...]:
        space = DenseSpace(self.width, self.length, LEFT_TO_RIGHT, bias=True)
        return (Stream(self.name, self.name, space, target=False),)

    def read(self, path: Path) -> np.ndarray:
        path = Path(path)
        if path.suffix.lower() != ".npz":
            return super().read(path)
        with naming(path):
            return self._rows(read_arrays(path))

    def _rows(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """The rows of the first text in an .npz file of 4M."""
        if "emb" not in arrays:
            raise self.problem(
                arrays, f".npz files with an array 'emb' (this one has {', '.join(arrays) or 'nothing'})"
            )
        rows, valid = arrays["emb"], arrays.get("mask_valid")
        if rows.ndim == 3 and len(rows):
            rows, valid = rows[0], valid[0] if valid is not None and valid.ndim == 2 and len(valid) else valid
        if valid is not None:
            if valid.shape != rows.shape[:1]:
                raise self.problem(valid, f"a 'mask_valid' with one number for each of {len(rows)} rows")
            rows = rows[valid.astype(bool)]
        return self._checked(rows)

    @property
    def expected(self) -> str:
        return f"rows of shape (n, {self.width})"

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 2 and shape[1] == self.width and shape[0] > 0

    def preprocess(self, value: Any) -> np.ndarray:
        return finite(value)[: self.length].astype(np.float32)

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return np.array(tensor, np.float32)

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {self.name: [self.preprocess(value) for value in values]}

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        raise GenerationError(f"{self.name} is read by models, not generated; ask for another modality")

    def show(self, value: Any, size: int = 256) -> Image:
        """One stripe a row, from left to right; rows that mean much the same have much the same color."""
        from PIL import Image

        colors = principal_colors(self.preprocess(value).astype(np.float64))
        stripes = Image.fromarray((colors[None] * 255).round().astype(np.uint8))
        return stripes.resize((size, size), Image.Resampling.NEAREST)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean cosine similarity of the rows that both have."""
        cosines = []
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = finite(prediction), finite(truth)
            count = min(len(p), len(t))
            cosines.append(cosine_similarity(p[:count], t[:count]).mean())
        return {"cosine": float(np.mean(cosines))}
