from .backbone import Backbone as Backbone
from .backbone import FeatureInfo as FeatureInfo
from .backbone import backbone as backbone
from .heads import HEADS as HEADS
from .heads import Head as Head
from .probing import Probed as Probed
from .probing import Split as Split
from .probing import probe as probe
