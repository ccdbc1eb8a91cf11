from .convert import convert as convert
from .formats import FORMATS as FORMATS
from .formats.base import Format as Format
from .presets import presets as presets
from .record import About as About
from .record import Bundle as Bundle
