"""python tests/parity DIR: compare with the numbers recorded in a folder."""

import sys
from pathlib import Path

# Python puts this folder first, whose files would hide the libraries of the same names (tokenizers).
sys.path[0] = str(Path(__file__).resolve().parents[1])

from parity.command import main  # noqa: E402

main()
