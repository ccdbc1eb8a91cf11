"""Heights of the ground, seen from above."""

from typing import Any

from anymodal import ImageModality


class HeightMap(ImageModality):
    """Heights above the sea: float32 arrays (H, W), meters from -100 to 1000."""

    channels, low, high = 1, -100.0, 1000.0

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean absolute error in meters, and the share of places that are rightly land or sea."""
        right = [((p > 0) == (t > 0)).mean() for p, t in zip(predictions, truths, strict=True)]
        return {"meters": super().score(predictions, truths)["mae"], "land": float(sum(right) / len(right))}
