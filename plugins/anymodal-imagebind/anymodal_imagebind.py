"""What ImageBind sees at each place of the picture."""

from anymodal import FeatureMapModality, Sampling


class Imagebind(FeatureMapModality):
    """Features of ImageBind ViT-H/14: float32 arrays (rows, columns, 1280), one vector for 14 x 14 pixels.

    A picture of 224 pixels has 16 x 16 of them.
    """

    channels, patch, codebook = 1280, 14, 8192
    repository = "EPFL-VILAB/4M_tokenizers_ImageBind-H14_8k_224-448"

    def sampling(self, grounded: bool) -> Sampling:
        steps, temperature = (1, 0.0) if grounded else (8, 0.01)
        return Sampling(scheme="roar", steps=steps, temperature=temperature, top_p=0.8, guidance=2.0)
