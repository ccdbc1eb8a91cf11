"""What DINOv2 sees in the picture as a whole."""

from collections.abc import Mapping
from typing import Any

from anymodal import FeatureLabeler, Labeler, VectorModality, hookimpl


class Dinov2Global(VectorModality):
    """The feature of DINOv2 ViT-B/14 for the picture: float32 arrays (768,), its class token after the last norm.

    Vectors of pictures that show alike things have a high cosine similarity, so they serve retrieval.
    """

    channels, codebooks, codebook, latent = 768, 16, 8192, 1024
    repository = "EPFL-VILAB/4M_tokenizers_DINOv2-B14-global_8k_16_224"


class Dinov2GlobalLabeler(FeatureLabeler):
    """DINOv2 ViT-B/14 (Oquab et al. 2023) on the centered square: the class token after the last norm."""

    modality, checkpoint, architecture = "dinov2_global", "facebook/dinov2-base", "Dinov2Model"
    patch, square = 14, True

    def features(self, pixels_BCHW: Any) -> Any:
        return self.model(pixel_values=pixels_BCHW).last_hidden_state[:, 0]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"dinov2_global": Dinov2GlobalLabeler}
