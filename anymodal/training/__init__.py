"""Training: one loop for tokenizers, teachers and the any-to-any model; the public names are listed in the stub.

engine.py, objective.py        the loop, and what it minimizes
settings.py, runtime.py        its settings, and where it runs; optim.py, schedules.py: optimizers, learning rates
precision.py                   what "auto" is on a device, kept by a resumed run
progress.py, average.py        which steps can be used; averaged weights
checkpoint.py, fingerprint.py  the resumable state as a folder, and what a run has in common with the one it resumes
parallel.py, device.py         how a model is laid over processes; batches on a device
log.py, trackers.py            the JSON-lines log, the progress bar, TensorBoard and Weights & Biases
seeding.py, signals.py         random numbers of a step; stop signals
multimodal/ tokenizers/ teachers/   runs from a configuration; estimate.py says what they would take
in_memory.py                   from values in memory to a model in one call
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
