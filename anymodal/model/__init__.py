"""The Transformer: configuration, blocks, positions."""

from anymodal.model.config import ModelConfig
from anymodal.model.transformer import Context, Transformer

__all__ = ["Context", "ModelConfig", "Transformer"]
