"""The command line: `anymodal COMMAND`."""

from anymodal.cli.main import main

__all__ = ["main"]
