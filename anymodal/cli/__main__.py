"""`python -m anymodal.cli`, which scripts were written with: the same as `python -m anymodal`."""

from anymodal.cli import main

main()
