"""Text that belongs to no picture."""

from anymodal import TextModality


class WebText(TextModality):
    """Text from the web: str, any length; the model reads its first `length` tokens. Published models know it as
    captions: 4M trains on such text (C4) in the caption stream."""

    length = 256
