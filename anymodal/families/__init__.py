"""Ready bases for modalities: subclass one, set a few numbers, and everything else follows."""

from anymodal.families.codes import CodedModality
from anymodal.families.edges import EdgeModality
from anymodal.families.embeddings import EmbeddingModality
from anymodal.families.features import FeatureMapModality
from anymodal.families.image import ImageModality
from anymodal.families.in_place import (
    KINDS,
    Kind,
    edge_map,
    embedding,
    feature_map,
    image,
    label_map,
    numbers,
    photograph,
    plain_text,
    signal,
    vector,
)
from anymodal.families.labels import LabelMapModality
from anymodal.families.pixels import PixelModality
from anymodal.families.shared import SharedModality
from anymodal.families.signals import SignalModality
from anymodal.families.structured import Number, NumbersModality
from anymodal.families.text import StructuredModality, TextModality
from anymodal.families.vectors import VectorModality

__all__ = [
    "KINDS",
    "CodedModality",
    "EdgeModality",
    "EmbeddingModality",
    "FeatureMapModality",
    "ImageModality",
    "Kind",
    "LabelMapModality",
    "Number",
    "NumbersModality",
    "PixelModality",
    "SharedModality",
    "SignalModality",
    "StructuredModality",
    "TextModality",
    "VectorModality",
    "edge_map",
    "embedding",
    "feature_map",
    "image",
    "label_map",
    "numbers",
    "photograph",
    "plain_text",
    "signal",
    "vector",
]
