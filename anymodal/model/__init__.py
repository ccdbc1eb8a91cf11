"""The Transformer: configuration, blocks, positions, features."""

from anymodal.model.config import ModelConfig
from anymodal.model.features import Features
from anymodal.model.transformer import Context, Transformer

__all__ = ["Context", "Features", "ModelConfig", "Transformer"]
