"""Tiny teachers: what small networks, trained on rendered scenes alone, see in a picture.

They stand in for CLIP, DINOv2 and ImageBind where the published ones cannot be had, and are no match for them. Whatever
a picture's size is, its shorter side is brought to 64 pixels; a place of 8 x 8 of them has 64 channels, the whole
picture 64 numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal import FeatureLabeler

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"


class TinyTeacher(FeatureLabeler):
    """Features of the places of a picture."""

    size, patch = 64, 8
    mean = std = (0.5, 0.5, 0.5)
    packages = ()
    whole: ClassVar[bool] = False

    def load(self) -> None:
        from anymodal.teachers import load_tower

        assert self.checkpoint is not None
        self.model: Any = load_tower(self.checkpoint).to(self.device)

    def features(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        return self.model(pixels_BCHW) if self.whole else self.model.features(pixels_BCHW)


class TinyClip(TinyTeacher):
    """Learned from pictures and their captions."""

    modality, checkpoint = "clip", str(WEIGHTS / "clip")


class TinyDinov2(TinyTeacher):
    """Learned from views of pictures, without words."""

    modality, checkpoint = "dinov2", str(WEIGHTS / "dinov2")


class TinyDinov2Global(TinyDinov2):
    """The whole picture as one vector."""

    modality, whole = "dinov2_global", True


class TinyImagebind(TinyTeacher):
    """Learned from pictures, their captions and their depth."""

    modality, checkpoint = "imagebind", str(WEIGHTS / "imagebind")


class TinyImagebindGlobal(TinyImagebind):
    """The whole picture as one vector."""

    modality, whole = "imagebind_global", True
