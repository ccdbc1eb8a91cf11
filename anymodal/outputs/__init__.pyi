from .generated import Outputs as Outputs
from .run import Origin as Origin
from .run import Run as Run
from .sheet import contact_sheet as contact_sheet
from .sheet import stacked as stacked
