"""What a picture shows, in words."""

from anymodal import TextModality


class Caption(TextModality):
    """Captions: str, any language the vocabulary covers, lower-cased by it. A mirrored picture keeps its caption."""

    length = 256
