"""Rendered rooms and outdoor places with exact labels: a dataset that is a pure function of (seed, index, size)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
