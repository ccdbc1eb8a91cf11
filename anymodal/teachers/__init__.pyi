from .towers import PictureTower as PictureTower
from .towers import load_tower as load_tower
from .towers import save_tower as save_tower

__all__ = ["PictureTower", "load_tower", "save_tower"]
