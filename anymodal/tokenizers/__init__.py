"""Tokenizers: images, label maps, feature maps and vectors to ids of a codebook, and back.

config.py     the numbers a tokenizer is made of
vit.py        vision transformer encoder and decoder
mlp.py        residual MLP encoder and decoder
quantize.py   codebooks
statistics.py how much of them is in use
library.py    other quantizers, by a library
gather.py     the processes of a run as one
tokenizer.py  the three put together
noise.py      noise schedules
residual.py, unet.py, uvit.py   decoders that denoise
solvers.py    the steps they take
diffusion.py  a tokenizer with such a decoder
losses.py     reconstruction losses by name
perceptual.py a loss that compares pictures as a network sees them
train.py      training of one tokenizer
batches.py    what it is trained on
recipe.py     all of it from a configuration
"""
