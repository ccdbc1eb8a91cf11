"""What a picture looks like, in a few numbers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anymodal import Labeler, Number, NumbersModality, hookimpl

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


class MetadataImage(NumbersModality):
    """Numbers of the picture, computed from rgb (codes and bins as in 4M-21, arXiv 2406.09406).

    `original_width` and `original_height` in pixels; `colorfulness` (Hasler and Suesstrunk 2003), `brightness` (mean
    luma, 0..255), `contrast` (its standard deviation), `saturation` (mean of HSV's, 0..255), `entropy` (of the luma's
    256 levels, bits); `watermark_score` and `aesthetic_score` come from files only. Luma is that of ITU-R BT.601.
    """

    fields = {
        "original_width": Number(0, step=32),
        "original_height": Number(1, step=32),
        "colorfulness": Number(9, 0, 150, 50),
        "brightness": Number(10, 0, 255, 50),
        "contrast": Number(11, 0, 127, 50),
        "saturation": Number(12, 0, 255, 50),
        "entropy": Number(13, 0, 10, 50),
        "watermark_score": Number(19, 0, 1, edges=(0.5,)),
        "aesthetic_score": Number(20, 1, 10, edges=(4.5, 5.5)),
    }
    folders = ("metadata",)
    derived_from = ("rgb",)

    def derive(self, values: dict[str, Any]) -> dict[str, float]:
        """All but the size, which a cropped picture no longer has, and the scores."""
        return appearance(values["rgb"])


def appearance(rgb: "np.ndarray") -> dict[str, float]:
    """Colorfulness, brightness, contrast, saturation and entropy of a picture (H, W, 3) uint8."""
    red, green, blue = np.asarray(rgb, np.float64).reshape(-1, 3).T
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    across, along = red - green, (red + green) / 2 - blue
    spread = np.hypot(across.std(), along.std())
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    counts = np.bincount(luma.round().astype(np.int64), minlength=256)
    shares = counts[counts > 0] / luma.size
    return {
        "colorfulness": float(spread + 0.3 * np.hypot(across.mean(), along.mean())),
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "saturation": float(255 * ((high - low) / np.maximum(high, 1)).mean()),
        "entropy": float(max(-(shares * np.log2(shares)).sum(), 0.0)),
    }


class MetadataImageLabeler(Labeler):
    """The exact numbers of a whole picture, its size among them."""

    modality = "metadata_image"

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [
            {"original_width": rgb.shape[1], "original_height": rgb.shape[0], **appearance(rgb)}
            for rgb in self.values(samples, "rgb")
        ]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"metadata_image": MetadataImageLabeler}
