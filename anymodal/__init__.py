"""anymodal: any-to-any models in which every modality is a plugin.

The public names are resolved when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymodal.lazy import public_names

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel as AnyModel
    from anymodal.card import About as About
    from anymodal.errors import AnymodalError as AnymodalError
    from anymodal.errors import CheckpointError as CheckpointError
    from anymodal.errors import ConfigError as ConfigError
    from anymodal.errors import DataError as DataError
    from anymodal.errors import GenerationError as GenerationError
    from anymodal.errors import PluginError as PluginError
    from anymodal.errors import SpaceError as SpaceError
    from anymodal.errors import UnknownModality as UnknownModality
    from anymodal.errors import ValueProblem as ValueProblem
    from anymodal.families import CodedModality as CodedModality
    from anymodal.families import EdgeModality as EdgeModality
    from anymodal.families import EmbeddingModality as EmbeddingModality
    from anymodal.families import FeatureMapModality as FeatureMapModality
    from anymodal.families import ImageModality as ImageModality
    from anymodal.families import LabelMapModality as LabelMapModality
    from anymodal.families import Number as Number
    from anymodal.families import NumbersModality as NumbersModality
    from anymodal.families import PixelModality as PixelModality
    from anymodal.families import SharedModality as SharedModality
    from anymodal.families import StructuredModality as StructuredModality
    from anymodal.families import TextModality as TextModality
    from anymodal.families import VectorModality as VectorModality
    from anymodal.families.image import image as image
    from anymodal.hookspecs import hookimpl as hookimpl
    from anymodal.hub import load as load
    from anymodal.labeler import DerivedLabeler as DerivedLabeler
    from anymodal.labeler import FeatureLabeler as FeatureLabeler
    from anymodal.labeler import Labeler as Labeler
    from anymodal.labeler import PictureLabeler as PictureLabeler
    from anymodal.modality import API as API
    from anymodal.modality import Crop as Crop
    from anymodal.modality import Modality as Modality
    from anymodal.modality import Sampling as Sampling
    from anymodal.plugins import modalities as modalities
    from anymodal.plugins import registry as registry
    from anymodal.spaces import DenseSpace as DenseSpace
    from anymodal.spaces import Stream as Stream
    from anymodal.spaces import TokenSpace as TokenSpace
    from anymodal.tokens import ModalitySet as ModalitySet

__version__ = "0.1.0"

_HOMES = {
    "API": "modality",
    "About": "card",
    "AnyModel": "anymodel",
    "AnymodalError": "errors",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "CodedModality": "families",
    "Crop": "modality",
    "DataError": "errors",
    "DenseSpace": "spaces",
    "DerivedLabeler": "labeler",
    "EdgeModality": "families",
    "EmbeddingModality": "families",
    "FeatureLabeler": "labeler",
    "FeatureMapModality": "families",
    "GenerationError": "errors",
    "ImageModality": "families",
    "LabelMapModality": "families",
    "Labeler": "labeler",
    "Modality": "modality",
    "ModalitySet": "tokens",
    "Number": "families",
    "NumbersModality": "families",
    "PictureLabeler": "labeler",
    "PixelModality": "families",
    "PluginError": "errors",
    "Sampling": "modality",
    "SharedModality": "families",
    "SpaceError": "errors",
    "Stream": "spaces",
    "StructuredModality": "families",
    "TextModality": "families",
    "TokenSpace": "spaces",
    "UnknownModality": "errors",
    "ValueProblem": "errors",
    "VectorModality": "families",
    "hookimpl": "hookspecs",
    "image": "families.image",
    "load": "hub",
    "modalities": "plugins",
    "registry": "plugins",
}

__getattr__, __dir__ = public_names(__name__, _HOMES)
