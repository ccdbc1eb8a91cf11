"""Write a trained checkpoint as it is packaged: export.py SOURCE DESTINATION.

Weights are in 8 bits, but for the encoders and codebooks, which ids depend on. Modalities are in the order of their
tokens, texts before grids and coarse grids before fine ones, so that what is generated after others reads little.
"""

import json
import sys
from pathlib import Path
from typing import Any

import anymodal as am
from anymodal.checkpoints.card import write_card


def grid_tokens(entry: dict[str, Any]) -> int:
    """How many tokens a modality has in the record of a checkpoint; 0 for sequences."""
    return max(s["space"]["length"] if s["space"]["order"] == "any" else 0 for s in entry["streams"])


source, destination = sys.argv[1], Path(sys.argv[2])
model = am.load(source)
model.about = am.About(
    description="A small model for trying things out, trained on rendered scenes; of photographs it knows edges and"
    " colors.",
    training_data="Rendered scenes (`anymodal scenes --kinds basic`): 50,000 of 64 pixels for seven modalities, 24,000"
    " of them for all 21, then 60,000 others of 128 pixels; and crops of 44 free photographs, of which only what"
    " follows from their pixels was learned.",
    license="apache-2.0",
)
model.save_pretrained(destination, dtype="int8")
record = json.loads((destination / "config.json").read_text())
record["modalities"] = dict(sorted(record["modalities"].items(), key=lambda named: grid_tokens(named[1])))
(destination / "config.json").write_text(json.dumps(record, indent=2) + "\n")
write_card(am.load(destination).bundle, "tiny", destination)
