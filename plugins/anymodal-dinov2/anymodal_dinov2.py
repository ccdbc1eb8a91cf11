"""What DINOv2 sees at each place of the picture."""

from collections.abc import Mapping
from typing import Any

from anymodal import FeatureLabeler, FeatureMapModality, Labeler, Sampling, hookimpl


class Dinov2(FeatureMapModality):
    """Features of DINOv2 ViT-B/14: float32 arrays (rows, columns, 768), one vector for 14 x 14 pixels.

    They are the patches of the last layer after its norm. A picture of 224 pixels has 16 x 16 of them.
    """

    channels, patch, codebook = 768, 14, 8192
    repository = "EPFL-VILAB/4M_tokenizers_DINOv2-B14_8k_224-448"

    def sampling(self, grounded: bool) -> Sampling:
        steps, temperature = (1, 0.0) if grounded else (8, 0.01)
        return Sampling(scheme="roar", steps=steps, temperature=temperature, top_p=0.8, guidance=2.0)


class Dinov2Labeler(FeatureLabeler):
    """DINOv2 ViT-B/14 (Oquab et al. 2023): all patches after the last norm."""

    modality, checkpoint, architecture = "dinov2", "facebook/dinov2-base", "Dinov2Model"
    patch = 14

    def features(self, pixels_BCHW: Any) -> Any:
        return self.model(pixel_values=pixels_BCHW).last_hidden_state[:, 1:]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"dinov2": Dinov2Labeler}
