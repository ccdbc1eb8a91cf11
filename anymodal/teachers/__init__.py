"""Teachers: small networks that learn features from aligned data alone, where no published ones can be had.

towers.py   one network a kind of value, to features of places and one vector of the whole; stored as folders

They are trained in `anymodal.training.teachers`.
"""

from anymodal.teachers.towers import PictureTower, load_tower, save_tower

__all__ = ["PictureTower", "load_tower", "save_tower"]
