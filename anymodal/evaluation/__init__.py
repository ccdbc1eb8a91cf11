"""Evaluation: what a model scores on the benchmarks of others, in the layout they were published in.

They are resolved when first used, so that importing the package costs nothing.

    tasks              the table of tasks: which data, from what to what, by which metric
    layouts            readers of published data sets, each in its own layout
    metrics            what accumulates scores; depth, normals, classes, texts
    calibration        temperatures at which a model is as sure as it is right; their search and the error of it
    intervals          of means over seeds, splits or sets
    run, report        one evaluation: resumable; its scores as JSON, Markdown and a sheet of pictures
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
