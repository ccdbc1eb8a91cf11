"""Models as encoders: a module for other networks, and probes of what frozen features know.

They are resolved when first used, so that importing the package costs nothing.

    backbone, entries     the encoder as a module, and how tensors become the tokens that it reads
    probing, dense        probes of samples and of the cells of a grid
    heads                 what learns from features
    frozen                features that are computed once
    class_folders         pictures in a folder for each class
    tuning/               fine-tuning for a task: an encoder and a small head
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
