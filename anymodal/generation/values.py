"""Natural values of generated tokens, finished or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from anymodal.generation.state import StreamTokens
from anymodal.partial import Partial
from anymodal.plugins.guard import blame
from anymodal.tokens import ModalitySet


@attrs.frozen(eq=False)
class Made:
    """A natural value of generated tokens.

    value: the value.
    how: what makes it another than its tokens decode to: "mean", "merge" of several draws, or "".
    uncertainty: float32 over the places of the value: how much draws differ, or the entropy of tokens (calibrated where
        the checkpoint is); None if unknown.
    """

    value: Any
    how: str = ""
    uncertainty: np.ndarray | None = None


def values_of(
    modalities: ModalitySet, name: str, tokens: Sequence[StreamTokens], partials: Sequence[Partial | None] = ()
) -> list[Made]:
    """Natural values of a target, one for each sample, decoded at once.

    They are decoded from the mean codes where probabilities were estimated, and merged where several were drawn.

    Args:
        modalities: those of the model.
        name: the target.
        tokens: all tokens of the target, of each sample.
        partials: what was given of the target, of each sample; () where nothing was.

    Raises:
        PluginError: the modality failed.
    """
    if not any(partials):
        return _decoded(modalities, name, tokens)
    modality = modalities.owner(name)
    united = [
        partial.unite if partial is not None and own.draws else None
        for own, partial in zip(tokens, partials, strict=True)
    ]
    rest = [own for own, unite in zip(tokens, united, strict=True) if unite is None]
    decoded = iter(_decoded(modalities, name, rest) if rest else ())
    found = []
    for own, partial, unite in zip(tokens, partials, united, strict=True):
        with blame(modality, "partial", own.values):
            if unite is not None:
                value, doubts = unite(own.draws)
                found.append(Made(value, "merge", doubts))
                continue
            made = next(decoded)
            found.append(made if partial is None else attrs.evolve(made, value=partial.finish(made.value, own.values)))
    return found


def _decoded(modalities: ModalitySet, name: str, tokens: Sequence[StreamTokens]) -> list[Made]:
    """As `values_of`, of targets of which nothing was given."""
    modality = modalities.owner(name)
    estimated = [each.probabilities for each in tokens if each.probabilities is not None]
    if len(estimated) == len(tokens):
        with blame(modality, "expect"):
            values = _expected(modality, tokens, estimated)
        shape = modalities.layout[name].space.shape
        heat = [each.temperature for each in tokens]
        sure = [modality.calibrated(each, "ids", own) for each, own in zip(estimated, heat, strict=True)]
        books = _books(modalities, name)
        spread = [_entropy_map(each, shape, books, value) for each, value in zip(sure, values, strict=True)]
        return [Made(value, "mean", own) for value, own in zip(values, spread, strict=True)]
    if all(each.draws for each in tokens):
        with blame(modality, "averaged"):
            several = [_averaged(modality, each) for each in tokens]
        if all(each.chosen for each in tokens):
            values = modalities.detokenize_stream(name, [each.values for each in tokens])
            return [Made(value, "", own) for value, (_, own) in zip(values, several, strict=True)]
        how = "" if modality.photographic else "merge"
        return [Made(value, how, own) for value, own in several]
    return [Made(value) for value in modalities.detokenize_stream(name, [each.values for each in tokens])]


def _averaged(modality: Any, tokens: StreamTokens) -> tuple[Any, np.ndarray | None]:
    """The value of several draws, each put back to where the picture was that it read, and how much they differ."""
    if not tokens.seen:
        return modality.averaged(list(tokens.draws))
    return modality.averaged_views(list(tokens.draws), tokens.seen)


def _expected(modality: Any, tokens: Sequence[StreamTokens], estimated: list[np.ndarray]) -> list[Any]:
    """The values of the mean codes under the probabilities of the picture and of its views, if there are any."""
    if not any(each.views for each in tokens):
        return modality.expect(estimated)
    return modality.expect_views(estimated, [each.views for each in tokens])


def _entropy_map(probabilities: np.ndarray, shape: tuple[int, int] | None, books: int, value: Any) -> np.ndarray | None:
    """The entropy of tokens (length, size), in nats, at each pixel of a value; None of what is no picture.

    That of a square is the sum of those of its tokens, one for each of the `books`.
    """
    sizes = np.shape(value)[:2]
    if shape is None or len(sizes) < 2:
        return None
    rows, columns = shape[0], shape[1] // books
    if sizes[0] % rows or sizes[1] % columns:
        return None
    each = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(-1)
    entropy = each.reshape(rows, columns, books).sum(-1)
    return entropy.repeat(sizes[0] // rows, 0).repeat(sizes[1] // columns, 1).astype(np.float32)


def completed(modalities: ModalitySet, name: str, tokens: StreamTokens) -> StreamTokens:
    """Tokens that can be decoded as a preview: every open position of a grid is like the nearest decided one.

    Of several codebooks it is the nearest of its own, if one is decided: ids of another mean something else.
    """
    stream = modalities.layout[name]
    length, books = stream.space.length, _books(modalities, name)
    if stream.is_sequence or len(tokens.positions) in (0, length):
        return tokens
    columns = stream.space.shape[1] if stream.space.shape else length
    rows, across = np.divmod(np.arange(length), columns)
    cells = np.stack([rows, across // books, across % books * length], 1)
    distances = np.abs(cells[:, None] - cells[tokens.positions][None]).sum(-1)
    return attrs.evolve(tokens, values=tokens.values[distances.argmin(1)], positions=np.arange(length))


def _books(modalities: ModalitySet, name: str) -> int:
    """How many tokens side by side a square of a grid has."""
    return getattr(modalities.owner(name), "codebooks", 1) if modalities.layout[name].space.shape else 1
