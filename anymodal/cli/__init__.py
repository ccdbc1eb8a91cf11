"""The command line: `anymodal COMMAND`, and what commands of plugins print with."""

from anymodal.cli.main import main
from anymodal.cli.output import Output, with_output

__all__ = ["Output", "main", "with_output"]
