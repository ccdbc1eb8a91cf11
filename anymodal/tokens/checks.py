"""What a plugin's code returns is looked at before the model sees it: tokens of the right kind, shape and range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal.errors import PluginError
from anymodal.modality import Modality
from anymodal.plugins.guard import describe, provenance
from anymodal.spaces import DenseSpace
from anymodal.tokens.layout import Layout

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


def checked_tokens(modality: Modality, layout: Layout, verb: str, tokens: Any) -> dict[str, np.ndarray]:
    """The tokens of one value by stream, of what `verb` returned: ids int64, or rows float32, of streams in the layout.

    Raises PluginError, which names the plugin and what is wrong; streams that are not in the layout pass.
    """

    def refuse(what: str) -> PluginError:
        return PluginError(f"modality {modality.name!r} ({provenance(type(modality))}) returns {what} from {verb}")

    if not isinstance(tokens, Mapping):
        raise refuse(f"{describe(tokens)}, not a dict of lists of arrays by stream,")
    found = {}
    for name, arrays in tokens.items():
        if not isinstance(arrays, (list, tuple)) or len(arrays) != 1 or not isinstance(arrays[0], np.ndarray):
            raise refuse(f"{describe(arrays)} for the stream {name!r}, not a list of one array for each value,")
        found[name] = arrays[0]
        if name in layout:
            if wanted := unfit_tokens(layout, name, arrays[0]):
                raise refuse(f"{describe(arrays[0])} for the stream {name!r}, which takes {wanted},")
            found[name] = arrays[0].astype(np.float32 if layout[name].is_dense else np.int64, copy=False)
    return found


def unfit_tokens(layout: Layout, name: str, tokens: np.ndarray, *, stored: bool = False) -> str:
    """What the stream takes, in words, if it is not these tokens; else an empty string.

    A model takes a part of a value too, unless it is a grid, and sequences together with the sentinels that masking
    adds to them; `stored` tokens are those of whole values alone.
    """
    space = layout[name].space
    exact = not space.is_sequence if stored else space.shape is not None and not isinstance(space, DenseSpace)
    most = space.length if stored else layout.positions[name].size
    counts = range(space.length if exact else 0, most + 1)
    number = f"{space.length}" if exact else f"at most {space.length}"
    if isinstance(space, DenseSpace):
        fits = tokens.ndim == 2 and tokens.shape[1] == space.width and len(tokens) in counts
        if not fits or tokens.dtype.kind != "f":
            return f"{number} rows of {space.width} floats"
        return "" if np.isfinite(tokens).all() else "finite numbers only"
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or len(tokens) not in counts:
        return f"{number} whole numbers"
    inside = not len(tokens) or (tokens.min() >= 0 and tokens.max() < space.size)
    return "" if inside else f"ids from 0 to {space.size - 1} (these go from {tokens.min()} to {tokens.max()})"
