"""python -m anymodal.formats.fourm"""

from anymodal.formats.fourm.verify.command import main

main()
