"""`python -m anymodal`, the same as the script `anymodal`."""

from anymodal.cli import main

main()
