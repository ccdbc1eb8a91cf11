"""Models as encoders of other networks.

backbone.py  the encoder as a module that reads tensors
entries.py   from tensors of a modality to the tokens of the encoder
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
