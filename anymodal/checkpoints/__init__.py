"""Models and tokenizers on disk and on the Hub, in the formats of a table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
