"""Write a trained checkpoint as it is packaged: export.py SOURCE DESTINATION.

Weights are in 8 bits, but for the encoders and codebooks, which ids depend on.
"""

import sys
from pathlib import Path

import anymodal as am
from anymodal.checkpoints.card import write_card

source, destination = sys.argv[1:]
model = am.load(source)
model.about = am.About(
    description="A small model for trying things out, trained on rendered scenes; of photographs it knows edges and"
    " colors.",
    training_data="Rendered scenes (`anymodal scenes --kinds basic`): 50,000 of 64 pixels for seven modalities, 24,000"
    " of them for all 21, then 28,000 others of 128 pixels; and crops of 44 free photographs, of which only what"
    " follows from their pixels was learned.",
    license="apache-2.0",
)
model.save_pretrained(destination, dtype="int8")
write_card(model.bundle, "tiny", Path(destination))
