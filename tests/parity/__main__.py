"""python -m anymodal.checkpoints.formats.fourm"""

from parity.command import main

main()
