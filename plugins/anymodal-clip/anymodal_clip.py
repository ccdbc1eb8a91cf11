"""What CLIP sees at each place of the picture."""

from collections.abc import Mapping
from typing import Any

from anymodal import FeatureLabeler, FeatureMapModality, Labeler, Sampling, hookimpl


class Clip(FeatureMapModality):
    """Features of CLIP ViT-B/16: float32 arrays (rows, columns, 512), one vector for 16 x 16 pixels, not normalized.

    They are the patches of the last layer in the space that pictures and texts share. Where the picture has to be
    invented, they are generated first and slowly, as in 4M: what they say decides what it shows.
    """

    channels, patch, codebook = 512, 16, 8192
    repository = "EPFL-VILAB/4M_tokenizers_CLIP-B16_8k_224-448"

    def sampling(self, grounded: bool) -> Sampling:
        if grounded:
            return super().sampling(grounded)
        return Sampling(scheme="roar", steps=50, temperature=5.0, anneal="onex:0.5:0.5", top_p=0.8, guidance=3.0)


class ClipLabeler(FeatureLabeler):
    """CLIP ViT-B/16 (Radford et al. 2021): all patches after the last norm and the projection.

    Pictures are standardized as for ImageNet, as the published 4M tokenizer of these features expects.
    """

    modality, checkpoint = "clip", "openai/clip-vit-base-patch16"
    architecture = "CLIPVisionModelWithProjection"

    def features(self, pixels_BCHW: Any) -> Any:
        vision = self.model.vision_model
        output = vision(pixel_values=pixels_BCHW, interpolate_pos_encoding=True)
        return self.model.visual_projection(vision.post_layernorm(output.last_hidden_state[:, 1:]))


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"clip": ClipLabeler}
