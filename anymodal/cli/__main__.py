"""`python -m anymodal.cli`, the same as the script `anymodal`."""

from anymodal.cli import main

main()
