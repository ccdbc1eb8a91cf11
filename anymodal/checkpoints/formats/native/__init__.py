"""Checkpoints of our own: `config.json` (readable, strict), weights, vocabulary, and tokenizers.

`model.safetensors` (or its shards) holds the Transformer, `vocabulary.json` the words, and
`modalities/NAME/{config.json, model.safetensors}` a tokenizer each. A checkpoint never brings code: modalities come
from installed plugins, and only the files and tensors of the modalities asked for are read.

format.py      the entry of the table of formats
layout.py      the files of a checkpoint
read.py        a bundle from files
write.py       files of a bundle
tokenizer.py   a tokenizer from files, and back
version_1.py   configs of format version 1
"""
