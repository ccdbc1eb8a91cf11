"""Searching an index of a million vectors.

`python -m benchmarks retrieval`

Vectors in groups around random directions are added, the index is opened again, and asked for 1 and for 64
vectors at once. The same is asked of a plain numpy product with the vectors in memory as float32, and of usearch (if it
is installed) with a graph of `graph` vectors. Times are seconds of processor time, the least of some rounds; memory is
the most that the process had beyond files mapped into it, of which the vectors to add are a part. `recall` is the share
of the exact ten that are found.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import anymodal as am
from anymodal.errors import AnymodalError
from anymodal.retrieval.searches import SEARCHES, Usearch
from benchmarks.harness.base import BENCHMARKS, Figures

CHUNK = 65_536


def grouped(count: int, channels: int, seed: int, spread: float = 1.0) -> np.ndarray:
    """Vectors (count, channels) around 1024 random directions, as far from them as these are long."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(0).standard_normal((1024, channels), dtype=np.float32)
    return middles[rng.integers(0, 1024, count)] + spread * rng.standard_normal((count, channels), dtype=np.float32)


def own_memory(status: Path = Path("/proc/self/status")) -> float:
    """Gigabytes of the process beyond files mapped into it."""
    for line in status.read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


class Peak:
    """The most memory that the process has of its own in the body, beyond what it had before, in `gigabytes`."""

    gigabytes = 0.0

    def __enter__(self) -> Peak:
        self._before, self._ended = own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            self.gigabytes = max(self.gigabytes, own_memory() - self._before)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def least(run: Callable[..., Any], rounds: int, *given: Any) -> float:
    """The least processor time of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        run(*given)
        times.append(time.process_time() - begun)
    return min(times)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of the exact rows (queries, top) that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]))


def plain(vectors: np.ndarray, queries: np.ndarray, top: int) -> np.ndarray:
    """The rows (queries, top) with the largest products, in the plain way."""
    products = queries @ vectors.T
    some = np.argpartition(-products, top, axis=1)[:, :top]
    return np.take_along_axis(some, np.argsort(-np.take_along_axis(products, some, 1), axis=1), 1)


def speed(rows: int, channels: int, graph: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Building, opening and asking; see the module."""
    index = am.Index.create(folder / "index", channels)
    begun = time.process_time()
    with Peak() as building:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            index.add(grouped(count, channels, 1 + start), [f"{k:07}" for k in range(start, start + count)])
    result: dict[str, Any] = {"rows": rows, "channels": channels, "build_s": time.process_time() - begun}
    result["build_gb"] = building.gigabytes
    result["files_gb"] = sum(path.stat().st_size for path in (folder / "index").rglob("*.safetensors")) / 1e9
    result["reopen_s"] = least(lambda: am.Index(folder / "index"), rounds)
    index = am.Index(folder / "index")
    queries = grouped(64, channels, 10**6)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with Peak() as asking:
        index.nearest(queries)
    result["ask_gb"] = asking.gigabytes
    ours = {batch: least(index.nearest, rounds, queries[:batch]) for batch in (1, 64)}
    exact = index.nearest(queries)[0]
    vectors = np.empty((rows, channels), np.float32)
    for shard, start in zip(index.shards, np.cumsum([0, *map(len, index.shards)]), strict=False):
        vectors[start : start + len(shard)] = shard.vectors.float().numpy()
    theirs = {batch: least(plain, rounds, vectors, queries[:batch], 10) for batch in (1, 64)}
    result["recall"] = recall(exact, plain(vectors, queries, 10))
    for batch in (1, 64):
        result[f"ask_{batch}_s"] = ours[batch]
        result[f"ask_{batch}_by_plain"] = ours[batch] / theirs[batch]
    return result | against_usearch(folder, channels, min(graph, rows), queries, rounds)


def against_usearch(folder: Path, channels: int, rows: int, queries: np.ndarray, rounds: int) -> dict[str, Any]:
    """The same of fewer rows by the graph of usearch, and exactly."""
    try:
        SEARCHES("usearch").check()
    except AnymodalError as error:
        return {"usearch": str(error)}
    index = am.Index.create(folder / "part", channels)
    index.add(grouped(rows, channels, 1), [str(k) for k in range(rows)])
    search = Usearch()
    begun = time.process_time()
    made = search.build(index)
    result: dict[str, Any] = {"graph_rows": rows, "graph_build_s": time.process_time() - begun}
    for batch in (1, 64):
        graph = least(made.search, max(rounds, 5), queries[:batch], 10)
        result[f"ask_{batch}_exact_by_graph"] = least(index.nearest, rounds, queries[:batch]) / graph
    result["graph_recall"] = recall(index.nearest(queries, search=search)[0], index.nearest(queries)[0])
    search.path(index).unlink()
    return result


@BENCHMARKS.register("retrieval")
@attrs.frozen
class Retrieval(Figures):
    """A million vectors: built, opened and asked."""

    rows: int = 1_000_000
    channels: int = 768
    graph: int = 50_000
    rounds: int = 3

    def run(self, quick: bool) -> Mapping[str, Any]:
        rows, graph = (20_000, 2_000) if quick else (self.rows, self.graph)
        folder = Path(tempfile.mkdtemp())
        try:
            return {"speed": speed(rows, self.channels, graph, self.rounds, folder)}
        finally:
            shutil.rmtree(folder)
