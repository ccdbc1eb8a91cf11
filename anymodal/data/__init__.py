"""Datasets: what runs read, and what is made from pictures and values. The names here are public.

They are resolved when first used, so that importing the package costs nothing.

    config, crops      what a run says of its datasets; crops that all modalities of a sample share
    sources, files     where samples come from: the layouts of datasets, and of files
    batches, mixture   packed batches of several datasets, as a function of the step (with order, replacing)
    check, report      what is wrong with a dataset
    store, jobs        tokenized datasets, and how they and labels are made shard by shard
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
