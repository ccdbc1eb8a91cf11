"""The published 4M checkpoints (arXiv 2312.06647, 2406.09406): read, written, and compared number for number.

domains.py      4M's domains as streams of ours
config.py       config.json of a Transformer
files.py        weights and configs on disk
keys.py         names of weights
model.py        Transformers: load and save
tokenizers.py   tokenizers: load and save
batches.py      4M's padded batches as packed ones, and its two losses
verify/         `python -m anymodal.checkpoints.formats.fourm verify DIR`: our numbers against recorded ones
"""
