"""The token space of a set of modalities, and packed tokens in it."""

from anymodal.tokens.layout import Block, JointTable, Layout
from anymodal.tokens.modality_set import ModalitySet
from anymodal.tokens.packing import NO_LABEL, DenseRows, Inputs, Packed, Packer, Targets, collate

__all__ = [
    "NO_LABEL", "Block", "DenseRows", "Inputs", "JointTable", "Layout", "ModalitySet", "Packed", "Packer", "Targets",
    "collate",
]  # fmt: skip
