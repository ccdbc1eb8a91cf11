from .backbone import Backbone as Backbone
from .backbone import FeatureInfo as FeatureInfo
from .backbone import backbone as backbone
