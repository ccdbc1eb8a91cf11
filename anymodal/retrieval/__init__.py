"""Retrieval: vectors of a dataset by one model, kept in a folder and found by values of any modality.

They are resolved when first used, so that importing the package costs nothing.

    index              an index in a folder: made, added to, asked
    build              how a dataset becomes a part of it, shard by shard
    calibration        what can be learned of its queries: `calibrated` keeps it, `pairs` are what it is learned from
    query              from values of any modality to the vector that is asked for
    exact, searches    how rows are found: exactly, or by another way of the table
    record, shards     what `index.json` says, and the files of vectors
    conditions         which rows may be found
    values, sheet      what was found: its values, a picture of it
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
