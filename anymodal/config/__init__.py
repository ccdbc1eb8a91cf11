"""Configurations: YAML files fill classes of settings, whose fields are checked where they are written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
