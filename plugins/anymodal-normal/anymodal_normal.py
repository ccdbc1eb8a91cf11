"""Which way surfaces face."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import ImageModality, Labeler, PictureLabeler, hookimpl
from anymodal.families.seams import pasted

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

FACING = (
    ((255, 128, 128), "faces right"),
    ((128, 255, 128), "up"),
    ((128, 128, 255), "the camera"),
    ((128, 128, 128), "no surface"),
)


class Normal(ImageModality):
    """Unit surface normals: float32 arrays (H, W, 3), x right, y up, z towards the camera; (0, 0, 0) where none.

    Files: 8-bit RGB PNG of (n + 1) / 2, or .npy; what is far from a unit vector there, such as black, is no surface. A
    mirrored picture mirrors x as well.
    """

    channels, low, high = 3, -1.0, 1.0
    loss = "mse"
    repository = "EPFL-VILAB/4M_tokenizers_normal_8k_224-448"

    def _checked(self, value: Any) -> "np.ndarray":
        normals = super()._checked(value)
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        return np.where((length > 0.5) & (length < 1.5), normals, np.float32(0))

    def resized(self, value: "np.ndarray", cells: int, box: tuple[float, float, float, float]) -> "np.ndarray":
        """As the base says; where normals cancel out in their mean, there is no surface."""
        return self._checked(super().resized(value, cells, box))

    def measured(self, value: Any) -> "np.ndarray":
        return np.linalg.norm(value, axis=-1) > 0.5

    def mirror(self, value: "np.ndarray") -> "np.ndarray":
        return super().mirror(value) * np.array([-1, 1, 1], np.float32)

    def mirror_tensor(self, tensor: "np.ndarray") -> "np.ndarray":
        """As the base says; lengths stay, which say how sure a direction is."""
        return tensor[:, :, ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]

    def joined(self, value: "np.ndarray", made: "np.ndarray", kept: "np.ndarray") -> "np.ndarray":
        """As the base says; what was made keeps its length, that of unit vectors or none."""
        whole = super().joined(value, made, kept)
        length = np.linalg.norm(whole, axis=-1, keepdims=True)
        units = np.where(length > 0.5, whole / np.maximum(length, 1e-6), made)
        return pasted(value, np.where(self.measured(made)[..., None], units, made).astype(np.float32), kept)

    def postprocess(self, tensor: "np.ndarray") -> "np.ndarray":
        """Vectors longer than one half become unit vectors, shorter ones mean "no surface"."""
        value = super().postprocess(tensor)
        length = np.linalg.norm(value, axis=-1, keepdims=True)
        return np.where(length > 0.5, value / np.maximum(length, 1e-6), 0).astype(np.float32)

    def legend(self, value: Any) -> list[tuple[tuple[int, int, int] | None, str]]:
        """The colors of surfaces that face right, up and the camera, and of none."""
        return list(FACING)

    def examples(self, rng: "np.random.Generator") -> dict[str, Any]:
        bumps = rng.standard_normal((self.size, self.size, 3)).astype(np.float32)
        drawn = bumps / np.linalg.norm(bumps, axis=-1, keepdims=True)
        flat = np.broadcast_to(np.array([0, 0, 1], np.float32), drawn.shape).copy()
        return {"flat": flat, "bumps": drawn, "holes": np.where(bumps[..., :1] > 1, np.float32(0), drawn)}

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean and median angular error in degrees, shares under 11.25, 22.5 and 30 degrees (Fouhey et al. 2013).

        Over all pixels where the truth has a surface.
        """
        angles = []
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
            surface = (np.linalg.norm(t, axis=-1) > 0.5) & np.isfinite(t).all(-1)
            p, t = p[surface], t[surface]
            norms = np.maximum(np.linalg.norm(p, axis=-1), 1e-9) * np.maximum(np.linalg.norm(t, axis=-1), 1e-9)
            cosine = (p * t).sum(-1) / norms
            angles.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
        joined = np.concatenate(angles) if angles else np.zeros(0)
        if not joined.size:
            joined = np.zeros(1)
        shares = {f"within_{limit:g}": float((joined < limit).mean()) for limit in (11.25, 22.5, 30)}
        return {"mean_angle": float(joined.mean()), "median_angle": float(np.median(joined))} | shares


class NormalLabeler(PictureLabeler):
    """Marigold for normals (Ke et al. 2025), a diffusion model of the diffusers library; the same noise every time."""

    modality, checkpoint = "normal", "prs-eth/marigold-normals-v1-1"
    packages = ("diffusers", "transformers")

    def load(self) -> None:
        import diffusers

        load = diffusers.MarigoldNormalsPipeline.from_pretrained
        self.model = load(self.checkpoint, use_safetensors=True, low_cpu_mem_usage=False).to(self.device)
        self.model.set_progress_bar_config(disable=True)

    def predict(self, pictures: "list[np.ndarray]") -> "list[np.ndarray]":
        from PIL import Image

        noise = [torch.Generator().manual_seed(0) for _ in pictures]
        images = [Image.fromarray(picture) for picture in pictures]
        found = self.model(images, batch_size=len(images), generator=noise, output_type="np").prediction
        lengths = np.linalg.norm(found, axis=-1, keepdims=True)
        return list((found / np.maximum(lengths, 1e-6)).astype(np.float32))


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"normal": NormalLabeler}
