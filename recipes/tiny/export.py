"""Write a trained checkpoint in half precision, as it is packaged: export.py SOURCE DESTINATION."""

import sys
from pathlib import Path

import anymodal as am
from anymodal.checkpoints.card import write_card

source, destination = sys.argv[1:]
model = am.load(source)
model.about = am.About(
    description="A small model for trying things out, trained on rendered scenes alone; photographs are foreign to it.",
    training_data="Rendered scenes of 64 pixels (`anymodal scenes --count 50000 --seed 0 --kinds basic`): all of"
    " them for seven modalities, 24,000 for all 21.",
    license="apache-2.0",
)
model.save_pretrained(destination, dtype="float16")
write_card(model.bundle, "tiny", Path(destination))
