"""Which way surfaces face."""

from typing import TYPE_CHECKING, Any

from anymodal import ImageModality

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class Normal(ImageModality):
    """Unit surface normals: float32 arrays (H, W, 3), x right, y up, z towards the camera; (0, 0, 0) where none.

    Files: 8-bit RGB PNG of (n + 1) / 2, or .npy. A mirrored picture mirrors x as well.
    """

    channels, low, high = 3, -1.0, 1.0
    loss = "mse"
    repository = "EPFL-VILAB/4M_tokenizers_normal_8k_224-448"

    def mirror(self, value: "np.ndarray") -> "np.ndarray":
        return super().mirror(value) * np.array([-1, 1, 1], np.float32)

    def postprocess(self, tensor: "np.ndarray") -> "np.ndarray":
        """Vectors longer than one half become unit vectors, shorter ones mean "no surface"."""
        value = super().postprocess(tensor)
        length = np.linalg.norm(value, axis=-1, keepdims=True)
        return np.where(length > 0.5, value / np.maximum(length, 1e-6), 0).astype(np.float32)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean angular error in degrees and the share under 11.25 degrees, where the truth has a surface."""
        angles = []
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
            surface = np.linalg.norm(t, axis=-1) > 0.5
            norms = np.maximum(np.linalg.norm(p, axis=-1), 1e-9) * np.maximum(np.linalg.norm(t, axis=-1), 1e-9)
            cosine = ((p * t).sum(-1) / norms)[surface]
            angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
        joined = np.concatenate(angles)
        return {"mean_angle": float(joined.mean()), "within_11.25": float((joined < 11.25).mean())}
