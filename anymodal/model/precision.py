"""In which precision a Transformer generates (`anymodal.nn.precision`)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from anymodal.nn import precision

if TYPE_CHECKING:
    from anymodal.model.transformer import Transformer


def precision_of(model: Transformer) -> Literal["bfloat16", "float32"]:
    """What the `precision` of a model comes to where its weights are."""
    return precision.settled(model.precision, model.input_table, model.config.dim) if model.has_weights else "float32"


def products(model: Transformer) -> AbstractContextManager[object]:
    """A block in which the weights of a model are multiplied in its precision."""
    return precision.products(precision_of(model), model.input_table, model.config.dim)
