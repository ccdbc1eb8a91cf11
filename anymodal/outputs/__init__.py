"""What `generate` returns: to look at, to save, to load and to repeat."""

from anymodal.outputs.generated import Outputs
from anymodal.outputs.run import Origin, Run
from anymodal.outputs.sheet import contact_sheet, stacked

__all__ = ["Origin", "Outputs", "Run", "contact_sheet", "stacked"]
