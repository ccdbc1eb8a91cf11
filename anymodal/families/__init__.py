"""Ready bases for modalities: subclass one, set a few numbers, and everything else follows."""

from anymodal.families.codes import CodedModality
from anymodal.families.edges import EdgeModality
from anymodal.families.embeddings import EmbeddingModality
from anymodal.families.features import FeatureMapModality
from anymodal.families.image import ImageModality, image
from anymodal.families.labels import LabelMapModality
from anymodal.families.pixels import PixelModality
from anymodal.families.shared import SharedModality
from anymodal.families.structured import Number, NumbersModality
from anymodal.families.text import StructuredModality, TextModality
from anymodal.families.vectors import VectorModality

__all__ = [
    "CodedModality",
    "EdgeModality",
    "EmbeddingModality",
    "FeatureMapModality",
    "ImageModality",
    "LabelMapModality",
    "Number",
    "NumbersModality",
    "PixelModality",
    "SharedModality",
    "StructuredModality",
    "TextModality",
    "VectorModality",
    "image",
]
