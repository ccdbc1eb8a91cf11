"""Tokenizers: images, label maps, feature maps and vectors to ids of a codebook, and back.

config.py      what a tokenizer is made of
tokenizer.py   encoder, quantizer and decoder put together; diffusion.py: one with a decoder that denoises
quantizers/    codebooks, a table of kinds; how much of them is in use
networks/      vision transformers, residual MLPs, and the denoisers
noise.py       noise schedules; solvers.py: the steps that decoders take from noise to a picture
losses.py      reconstruction losses by name

They are trained in `anymodal.training.tokenizers`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
