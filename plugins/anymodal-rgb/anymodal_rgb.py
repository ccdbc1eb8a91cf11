"""The photograph itself."""

from anymodal import PixelModality, Sampling


class RGB(PixelModality):
    """Color photographs: uint8 arrays (H, W, 3), sRGB. They enter as pixels or tokens and leave as tokens."""

    name = "rgb"
    channels, low, high, dtype = 3, 0.0, 255.0, "uint8"
    size, patch, codebook, loss = 224, 16, 16384, "mse"
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    repository = "EPFL-VILAB/4M_tokenizers_rgb_16k_224-448"

    def sampling(self, grounded: bool) -> Sampling:
        """Eight tokens a step: 25 steps for the published 196 tokens."""
        steps = min(25, -(-(self.side**2) // 8))
        return Sampling(scheme="roar", steps=steps, temperature=3.0, anneal="onex:0.5:0.5", top_p=0.8, guidance=2.0)
