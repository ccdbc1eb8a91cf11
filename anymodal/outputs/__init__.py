"""What `generate` returns: to look at, to save, to load and to repeat.

The names are resolved when first used, so that importing the package costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
