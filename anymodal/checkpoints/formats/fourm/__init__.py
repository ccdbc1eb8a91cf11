"""The published 4M checkpoints (arXiv 2312.06647, 2406.09406), read and written.

format.py            the entry of the table of formats
layout.py            the files of a checkpoint
domains.py           4M's domains as streams of ours
config.py            config.json of a Transformer
keys.py              names of weights
model.py             Transformers: load and save
tokenizer_config.py  config.json of a tokenizer
tokenizers.py        tokenizers: load and save
vocabulary.py        4M's text tokenizer
files.py             a folder or a single file, written
read.py              a published model as a bundle: plugins with 4M's settings, tokenizers later
write.py             a bundle as a published model
"""
