"""Ways of searching an index, by name; another distribution adds its own with ``@SEARCHES.add``, or by an entry point.

The group of entry points is "anymodal.searches".
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import between, integer
from anymodal.errors import DataError, PluginError, one_line
from anymodal.files import cache_folder, replacing
from anymodal.progress import task

if TYPE_CHECKING:
    import numpy as np

    from anymodal.retrieval.index import Index
else:
    from anymodal.lazy import np


@attrs.frozen
class Search(ABC):
    """A way of searching: a frozen attrs class with its own numbers, under ``@SEARCHES.add``."""

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""

    def check(self) -> None:  # noqa: B027  # most can be used everywhere
        """Raise PluginError where a library is missing."""

    @abstractmethod
    def nearest(
        self, index: Index, queries: np.ndarray, top: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows (queries, top) int64 of vectors of length 1 (queries, channels), -1 for none, and scores.

        `allowed` (rows,) says which may be found, None for all.
        """


SEARCHES = SettingsTable(Search, "search")  # type: ignore[type-abstract]


@SEARCHES.add
@attrs.frozen
class Exact(Search):
    """All vectors are looked at; see `anymodal.retrieval.exact`."""

    name: str = attrs.field(init=False, default="exact")
    description: ClassVar[str] = "all vectors are looked at"

    def nearest(
        self, index: Index, queries: np.ndarray, top: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        from anymodal.retrieval.exact import nearest

        return nearest([shard.vectors for shard in index.shards], queries, top, allowed)


@SEARCHES.add
@attrs.frozen
class Usearch(Search):
    """A graph of neighbors (HNSW, Malkov and Yashunin 2018) of the library usearch: fast, and not always exact.

    The graph is made when it is first needed, and kept in the cache folder: native code reads it, so that an index from
    elsewhere brings none. All rows are looked at instead where few are allowed, and for a query that finds too few of
    those in the graph.
    """

    name: str = attrs.field(init=False, default="usearch")
    description: ClassVar[str] = "a graph of neighbors, for many millions"
    connectivity: int = attrs.field(default=16, converter=integer, validator=between(2, 1024))
    expansion_add: int = attrs.field(default=128, converter=integer, validator=between(1, 65_536))
    expansion_search: int = attrs.field(default=128, converter=integer, validator=between(1, 65_536))
    FEW: ClassVar[float] = 0.5

    def nearest(
        self, index: Index, queries: np.ndarray, top: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        from anymodal.retrieval.exact import picked

        if not index.rows or (allowed is not None and allowed.mean() < self.FEW):
            return Exact().nearest(index, queries, top, allowed)
        wanted = top if allowed is None else min(index.rows, int(np.ceil(2 * top / allowed.mean())))
        found = self.graph(index).search(queries, wanted, threads=0)
        keys = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        distances = np.asarray(found.distances).reshape(keys.shape)
        counts = np.asarray(found.counts).reshape(-1, 1) if hasattr(found, "counts") else np.array([[keys.shape[1]]])
        usable = (np.arange(keys.shape[1]) < counts) & np.isfinite(distances)  # beyond them keys are 0
        usable &= True if allowed is None else allowed[np.where(usable, keys, 0)]
        rows, scores = np.full((len(queries), top), -1, np.int64), np.full((len(queries), top), -np.inf)
        shards = [shard.vectors for shard in index.shards]
        for query, mine in enumerate(usable):
            candidates = keys[query, mine]
            products = picked(shards, candidates).astype(np.float64) @ queries[query].astype(np.float64)
            order = np.lexsort((candidates, -products))[:top]
            rows[query, : len(order)], scores[query, : len(order)] = candidates[order], products[order]
        there = index.rows if allowed is None else int(allowed.sum())
        lacking = (rows >= 0).sum(1) < min(top, there)  # all that is near may be what is not allowed
        if lacking.any():
            rows[lacking], scores[lacking] = Exact().nearest(index, queries[lacking], top, allowed)
        return rows, scores

    def graph(self, index: Index) -> Any:
        """The graph of all rows, made or from the cache. Raises PluginError without the library, or DataError."""
        path = self.path(index)
        if path.exists():
            try:
                return self._library().Index.restore(str(path), view=True, **self._effort)
            except Exception:  # cut short, or of another version of the library: it is made again
                path.unlink(missing_ok=True)
        return self.build(index)

    def build(self, index: Index) -> Any:
        """Make the graph and keep it. Raises as `graph`."""
        made = self._library().Index(
            ndim=index.channels,
            metric="ip",
            dtype="f16",
            connectivity=self.connectivity,
            **self._effort,
        )
        first = 0
        with task("making the graph", index.rows) as now:
            for shard in index.shards:
                for start in range(0, len(shard), 4096):
                    part = shard.vectors[start : start + 4096].numpy()
                    made.add(np.arange(first + start, first + start + len(part)), part)
                    now.advance(len(part))
                first += len(shard)
        try:
            with replacing(self.path(index)) as temporary:
                made.save(str(temporary))
        except (OSError, RuntimeError) as error:
            raise DataError(f"the graph of {index.folder} cannot be kept: {one_line(error)}") from None
        return made

    @property
    def _effort(self) -> dict[str, int]:
        """How far is looked when rows are added and searched; files of the library do not say it."""
        return {"expansion_add": self.expansion_add, "expansion_search": self.expansion_search}

    def path(self, index: Index) -> Path:
        """Where the graph is kept: a name made of the files of the index and the settings that shape the graph."""
        files = " ".join(shard.record.sha256 for shard in index.shards)
        made = f"{self.name} {self.connectivity} {self.expansion_add} {index.channels} {files}"
        digest = hashlib.sha256(made.encode()).hexdigest()[:32]
        return cache_folder() / "graphs" / f"{digest}.usearch"

    def check(self) -> None:
        if find_spec("usearch") is None:
            raise PluginError("the search usearch needs its library; pip install 'anymodal[index]'")

    def _library(self) -> Any:
        self.check()
        return import_module("usearch.index")
