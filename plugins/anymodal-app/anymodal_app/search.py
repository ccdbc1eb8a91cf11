"""What an index finds for inputs, with pictures where its data has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from anymodal import Index
from anymodal.retrieval import Hit, hit_values
from anymodal_app.pictures import data_url
from anymodal_app.requests import known_keys, whole
from anymodal_app.runs import Event, Studio, told

MOST, SIDE = 50, 256


class Wanted(TypedDict, total=False):
    """A question to an index, as the page sends it."""

    inputs: dict[str, Any]
    count: int
    seed: int
    weights: dict[str, float]


def found(studio: Studio, index: Index, wanted: Wanted) -> Event:
    """What is nearest to the inputs, the best first, or what is wrong with them."""
    try:
        raw, reader = known_keys(wanted, Wanted, "a search"), studio.reader
        count = whole(raw.get("count", 12), "count", 1, MOST)
        inputs, weights = reader.values(raw.get("inputs")), reader.weights(raw)
        hits = index.query(studio.model, inputs, count, weights=weights or None)
        shown = [modality for modality in studio.model.modalities if modality.photographic]
        values = hit_values(hits, shown)
        return {"results": [_result(hit, each) for hit, each in zip(hits, values, strict=True)]}
    except Exception as error:
        return {"error": told(error)}


def _result(hit: Hit, values: Mapping[str, Any]) -> dict[str, Any]:
    texts = [value for value in hit.values.values() if isinstance(value, str)]
    result = {"name": hit.name, "score": round(hit.score, 4), "text": texts[0] if texts else ""}
    for modality, value in values.values():
        result["picture"] = data_url(modality.show(value, SIDE).convert("RGB"))
    return result
