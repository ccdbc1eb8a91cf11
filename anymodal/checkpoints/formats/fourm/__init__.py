"""The published 4M checkpoints (arXiv 2312.06647, 2406.09406): read and written.

domains.py      4M's domains as streams of ours
config.py       config.json of a Transformer
files.py        weights and configs on disk
keys.py         names of weights
model.py        Transformers: load and save
tokenizers.py   tokenizers: load and save
"""
