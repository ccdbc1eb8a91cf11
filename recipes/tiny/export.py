"""Write a trained checkpoint as it is packaged: export.py SOURCE DESTINATION.

Weights are in half precision, decoders with an overlap in 8 bits.
"""

import sys
from pathlib import Path

import torch

import anymodal as am
from anymodal.checkpoints.card import write_card
from anymodal.checkpoints.formats.native.layout import tokenizer_folder
from anymodal.checkpoints.formats.native.tokenizer import write_native_tokenizer

source, destination = sys.argv[1:]
model = am.load(source)
model.about = am.About(
    description="A small model for trying things out, trained on rendered scenes; of photographs it knows edges and"
    " colors.",
    training_data="Rendered scenes (`anymodal scenes --kinds basic`): 50,000 of 64 pixels for seven modalities, 24,000"
    " of them for all 21, then 16,000 others of 128 pixels; and crops of 44 free photographs, of which only what"
    " follows from their pixels was learned.",
    license="apache-2.0",
)
model.save_pretrained(destination, dtype="float16")
for modality in model.modalities:
    if modality.tokenizer is not None and modality.tokenizer.config.overlap is not None:
        folder = Path(destination, tokenizer_folder(modality.name))
        write_native_tokenizer(modality.tokenizer, folder, torch.int8, modality)
write_card(model.bundle, "tiny", Path(destination))
