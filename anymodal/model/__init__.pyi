from .config import ModelConfig as ModelConfig
from .features import Features as Features
from .transformer import Context as Context
from .transformer import Transformer as Transformer

__all__ = ["Context", "Features", "ModelConfig", "Transformer"]
