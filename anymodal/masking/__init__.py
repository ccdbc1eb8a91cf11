"""Which tokens of a sample the model reads and which it predicts (4M, arXiv 2312.06647 section 3).

A mixture component is drawn, then token budgets from two Dirichlet distributions, then tokens: grids at random
positions, sequences by span masking. The result is packed: only selected tokens leave this package.

config.py     the numbers of a recipe
schemes.py    the table of schemes: how budgets are dealt out and spent
budgets.py    how many tokens of each stream
selection.py  choosing tokens of one stream
spans.py      span masking of sequences
batch.py      packing what was selected of all samples of a batch at once
masker.py     masking samples, by a mixture or by fixed roles
"""

from anymodal.masking.batch import packed_batch
from anymodal.masking.budgets import Alphas, Gammas, budgets, published_budgets
from anymodal.masking.config import Component, MaskingConfig
from anymodal.masking.masker import Masker, Roles
from anymodal.masking.schemes import SCHEMES, Concentrations, MaskingScheme, Streams
from anymodal.masking.selection import Chosen, GridSelection, Selection, pack, select_grid, select_stream
from anymodal.masking.spans import (
    chunk_sizes,
    hide_spans,
    merge_spans,
    select_rows,
    select_sequence,
    whole_chunks,
)

__all__ = [
    "SCHEMES",
    "Alphas",
    "Chosen",
    "Component",
    "Concentrations",
    "Gammas",
    "GridSelection",
    "Masker",
    "MaskingConfig",
    "MaskingScheme",
    "Roles",
    "Selection",
    "Streams",
    "budgets",
    "chunk_sizes",
    "hide_spans",
    "merge_spans",
    "pack",
    "packed_batch",
    "published_budgets",
    "select_grid",
    "select_rows",
    "select_sequence",
    "select_stream",
    "whole_chunks",
]
