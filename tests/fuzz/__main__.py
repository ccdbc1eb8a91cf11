"""python tests/fuzz: see `--help`."""

import sys
from pathlib import Path

# Python puts this folder first, whose files would hide libraries.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from fuzz.command import main  # noqa: E402

if __name__ == "__main__":
    main()
