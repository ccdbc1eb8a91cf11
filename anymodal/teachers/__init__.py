"""Teachers: small networks that learn features from aligned data alone, where no published ones can be had.

towers.py   one network a kind of value, to features of places and one vector of the whole; stored as folders

They are trained in `anymodal.training.teachers`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
