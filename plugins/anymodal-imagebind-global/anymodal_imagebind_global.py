"""What ImageBind sees in the picture as a whole."""

from anymodal import VectorModality


class ImagebindGlobal(VectorModality):
    """The feature of ImageBind ViT-H/14 for the picture: float32 arrays (1280,), its class token.

    Vectors of pictures that show alike things have a high cosine similarity, so they serve retrieval.
    """

    channels, codebooks, codebook, latent = 1280, 16, 8192, 1024
    repository = "EPFL-VILAB/4M_tokenizers_ImageBind-H14-global_8k_16_224"
