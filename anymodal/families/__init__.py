"""Ready bases for modalities: subclass one, set a few numbers, and everything else follows."""

from anymodal.families.image import ImageModality, image
from anymodal.families.labels import LabelMapModality
from anymodal.families.pixels import PixelModality
from anymodal.families.text import StructuredModality, TextModality

__all__ = ["ImageModality", "LabelMapModality", "PixelModality", "StructuredModality", "TextModality", "image"]
