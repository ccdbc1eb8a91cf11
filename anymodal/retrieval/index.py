"""An index of vectors in a folder: exact search in bounded memory, appended in files, with names and columns.

`index.json` is written last and whole, so that a reader sees the index before a change or after it; one process writes
at a time. Files of vectors are never changed, so that readers go on with what they opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from anymodal.anymodel import AnyModel
from anymodal.config.arguments import DICT, DICTS, LIST, PLACE, TEXT, optional, takes
from anymodal.data.store.arrays import shard_name
from anymodal.errors import ConfigError, DataError, ValueProblem, counted, system_errors
from anymodal.files import only_writer, remove_partial
from anymodal.notebook import html_table
from anymodal.retrieval.calibrated import Calibrations, calibrate
from anymodal.retrieval.conditions import Conditions, check_conditions, rows_allowed
from anymodal.retrieval.exact import picked
from anymodal.retrieval.hits import Hit, Hits
from anymodal.retrieval.query import MODEL, channels_of, check_model, model_record, query_vectors
from anymodal.retrieval.record import (
    MOST_CHANNELS,
    IndexRecord,
    ModelRecord,
    begin,
    read_index_record,
    whole_number,
    write_index_record,
)
from anymodal.retrieval.searches import SEARCHES, Search
from anymodal.retrieval.shards import (
    Shard,
    Texts,
    checked_column,
    checked_texts,
    is_whole,
    shard_record,
    unit,
    write_shard,
)

ADDED = "added"
SHARD_ROWS = 65_536
MOST_FOUND = 10_000


class Index:
    """Vectors of length 1 in half precision, found by their cosine.

    ``am.Index("photos-index").query(model, {"caption": "a red car"})`` asks an index that `anymodal retrieve index` or
    `anymodal.retrieval.index_dataset` made; ``am.Index.create("mine", channels=768)`` begins one for vectors of your
    own. An index that is open stays as it was opened, whatever others write, until `refresh`.
    """

    @takes(folder=PLACE)
    def __init__(self, folder: str | Path) -> None:
        """Open the index in a folder. Raises DataError where there is none, or a damaged one."""
        self.folder = Path(folder)
        self._models: WeakSet[AnyModel] = WeakSet()  # those that are known to be the right one
        self.refresh()

    def __repr__(self) -> str:
        vectors = f"{counted(len(self), 'vector')} of {self.channels} channels"
        return f"Index({str(self.folder)!r}: {vectors}, {self.by or 'your own'})"

    def _repr_html_(self) -> str:
        columns = ", ".join(f"{name} ({kind})" for name, kind in self.columns.items())
        rows = [
            ("vectors", len(self)),
            ("channels", self.channels),
            ("of", self.by or "your own"),
            ("columns", columns),
        ]
        return html_table(("index", str(self.folder)), rows)

    def __len__(self) -> int:
        """How many vectors can be found: without those that were removed."""
        return sum(int(shard.living.sum()) for shard in self.shards)

    @classmethod
    @takes(folder=PLACE, model=optional(MODEL), by=TEXT)
    def create(cls, folder: str | Path, channels: int, *, model: AnyModel | None = None, by: str = "") -> Index:
        """Begin an empty index.

        Args:
            folder: made if need be; it must be empty.
            channels: the length of the vectors.
            model: the one that the vectors belong to, which alone may be asked to make queries.
            by: the modality of the vectors, which the model generates.

        Raises:
            DataError: the folder holds something, or cannot be written.
            ConfigError: an impossible number of channels, or another one than the model's vectors have.
            GenerationError: the model does not make `by`, or its values are no vectors.
        """
        length = whole_number(channels, "channels", MOST_CHANNELS)
        record = model_record(model, by) if model is not None else ModelRecord()
        if model is not None and length != (own := channels_of(model.modalities[by])):
            raise ConfigError(f"the vectors of {by!r} have {own} channels, got channels={length}")
        begin(Path(folder), IndexRecord(length, by, record))
        return cls(folder)

    @system_errors(DataError)
    def refresh(self) -> None:
        """Open what others have written meanwhile. Raises DataError as opening does."""
        self.record = read_index_record(self.folder)
        kinds = self.record.columns
        self.shards = [Shard(self.folder, each, self.record.channels, kinds) for each in self.record.shards]
        self._starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        self._calibrations = Calibrations(self.folder, self.record)

    @property
    def by(self) -> str:
        """The modality of the vectors, "" for vectors of one's own."""
        return self.record.by

    @property
    def channels(self) -> int:
        """The length of a vector."""
        return self.record.channels

    @property
    def rows(self) -> int:
        """How many vectors there are, removed ones included."""
        return self.record.rows

    @property
    def columns(self) -> dict[str, str]:
        """What rows may have beside their names: "text" or "number" by name."""
        return dict(self.record.columns)

    # Asking.

    @takes(model=MODEL, inputs=DICT)
    def query(
        self,
        model: AnyModel,
        inputs: Mapping[str, Any],
        top: int = 10,
        *,
        weights: Mapping[str, float] | None = None,
        where: Conditions | np.ndarray | None = None,
        draws: int = 1,
        seed: int = 0,
        search: str | Search = "exact",
    ) -> Hits:
        """What is nearest to values of any modalities.

        Args:
            model: the one that the index was made with.
            inputs: plain values by modality, as for `AnyModel.embed`; among them may be a vector of the index's own.
            top: how many.
            weights: of each input: the query is the sum of one vector for each, times its weight, which may be below
                zero. Without them, all inputs together make one.
            where: see `nearest`.
            draws: 1 for the vector that the model expects, more for the mean of so many that are drawn.
            seed: what they are drawn from.
            search: see `nearest`.

        Returns:
            The nearest from the best down.

        Raises:
            DataError: the index was made with another model, or holds damaged vectors.
            GenerationError: as `AnyModel.embed`.
            AnymodalError: a value cannot be read.
        """
        vector = self.query_vectors(model, [inputs], weights=weights, draws=draws, seed=seed)[0]
        return self.search(vector, top, where=where, search=search)

    @takes(model=MODEL, inputs=DICTS)
    def query_vectors(
        self,
        model: AnyModel,
        inputs: Sequence[Mapping[str, Any]],
        *,
        weights: Mapping[str, float] | None = None,
        draws: int = 1,
        seed: int = 0,
    ) -> np.ndarray:
        """The vectors that several queries of the same modalities ask for, in one batch: what `nearest` is given.

        Those that the model expects are calibrated, where that was learned for their modalities; see `calibrate`.

        Args:
            inputs: of each query; else as for `query`.

        Returns:
            (queries, channels) float32 of length 1. Raises as `query`.
        """
        self._check(model)
        return query_vectors(model, self.by, inputs, weights, draws, seed, self._calibrations.moved)

    def calibrated(self, vectors: np.ndarray, names: Iterable[str]) -> np.ndarray:
        """Vectors that the model expects, moved as was learned of queries by these modalities together.

        Args:
            vectors: (queries, channels), of any length.
            names: the modalities that they were predicted from.

        Returns:
            (queries, channels) float32 of length 1; those that were given, if nothing was learned. Raises ValueProblem
            for a vector of another length or without a direction, and for what is no list of names, DataError where
            what was learned is damaged.
        """
        return self._calibrations.moved(self._queries(vectors), names)

    def _queries(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (queries, channels) of length 1. Raises ValueProblem for others."""
        queries = unit(vectors, "queries")
        if queries.shape[1] != self.channels:
            raise ValueProblem(f"the index has {self.channels} channels, and the query {queries.shape[1]}")
        return queries

    def _check(self, model: AnyModel) -> None:
        """Raise DataError unless the index was made with that model."""
        if model not in self._models:
            check_model(model, self.record, self.folder)
            self._models.add(model)

    def search(
        self,
        vector: np.ndarray,
        top: int = 10,
        *,
        where: Conditions | np.ndarray | None = None,
        search: str | Search = "exact",
    ) -> Hits:
        """What is nearest to one vector (channels,); see `nearest`."""
        rows, scores = self.nearest(np.asarray(vector)[None], top, where=where, search=search)
        return self.hits(rows[0], scores[0])

    def nearest(
        self,
        vectors: np.ndarray,
        top: int = 10,
        *,
        where: Conditions | np.ndarray | None = None,
        search: str | Search = "exact",
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of several vectors at once.

        Args:
            vectors: (queries, channels), of any length.
            top: how many, of each.
            where: which rows may be found: bool (rows,), or conditions on columns and on "name": a text or a pattern
                such as "street/*", a number, or a pair (low, high) with None for no bound.
            search: how: "exact", "usearch", or another of the table `anymodal.retrieval.SEARCHES`.

        Returns:
            Rows (queries, top) int64 from the best down, -1 where there are no more, and their cosines float64, -inf
            there.

        Raises:
            ValueProblem: a vector of another length, or one that has no direction.
            ConfigError: a condition on what the index does not have.
        """
        most = whole_number(top, "top", MOST_FOUND)
        queries = self._queries(vectors)
        rows, scores = SEARCHES(search).nearest(self, queries, most, self.allowed(where))
        if not np.isfinite(scores[rows >= 0]).all():
            raise DataError(f"{self.folder} is damaged: it holds numbers that are not finite; Index.verify says where")
        return rows, np.where(rows < 0, scores, scores.clip(-1, 1))  # half precision made vectors a little longer

    def allowed(self, where: Conditions | np.ndarray | None) -> np.ndarray | None:
        """Which rows may be found: bool (rows,), None for all. Raises ConfigError."""
        if where is None or isinstance(where, np.ndarray):
            living = rows_allowed(self.shards, {}) if any(shard.record.removed for shard in self.shards) else None
            if where is None:
                return living
            if where.dtype != bool or where.shape != (self.rows,):
                raise ConfigError(
                    f"a mask of the index is bool of shape ({self.rows},), not {where.dtype} {where.shape}"
                )
            return where if living is None else where & living
        check_conditions(where, self.record.columns)
        return rows_allowed(self.shards, where)

    @takes(rows=LIST, scores=LIST)
    def hits(self, rows: Iterable[int], scores: Iterable[float]) -> Hits:
        """Names and columns of rows, without those that are -1. Raises ValueProblem for a row that there is not."""
        found, cosines = np.array([*rows]), [*scores]
        if len(found) != len(cosines):
            raise ValueProblem(
                f"each row has a score, got {counted(len(found), 'row')} and {counted(len(cosines), 'score')}"
            )
        self._known(found[found != -1] if found.ndim == 1 else found)
        return Hits(self._hit(int(row), float(score)) for row, score in zip(found, cosines, strict=True) if row != -1)

    def _known(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n,) that there are. Raises ValueProblem for others."""
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise ValueProblem(f"rows are whole numbers of shape (n,), not {rows.dtype} of shape {rows.shape}")
        if rows.size and not 0 <= rows.min() <= rows.max() < self.rows:
            raise ValueProblem(f"the index has the rows 0 to {self.rows - 1}, got {rows.min()} to {rows.max()}")
        return rows.astype(np.int64)

    def _hit(self, row: int, score: float) -> Hit:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        shard, within = self.shards[number], row - int(self._starts[number])
        values: dict[str, str | float] = {}
        for name in shard.record.columns:
            column = shard.column(name)
            assert column is not None
            values[name] = column[within] if isinstance(column, Texts) else float(column[within])
        return Hit(shard.names[within], score, row, shard.record.data, values)

    def vectors(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The vectors of rows (n,): float16 (n, channels). Raises ValueProblem for a row that there is not."""
        known = self._known(np.asarray(rows))
        if not self.shards:
            return np.zeros((0, self.channels), np.float16)
        return picked([shard.vectors for shard in self.shards], known)

    # Changing.

    @takes(columns=DICT)
    def add(
        self,
        vectors: np.ndarray,
        names: Sequence[str],
        columns: Mapping[str, Sequence[str] | Sequence[float] | np.ndarray] | None = None,
    ) -> None:
        """Add rows. Each call writes at least one file, so that many at once are better than one by one.

        Args:
            vectors: (n, channels), of any length but zero; their directions are kept, in half precision.
            names: of each; they need not be different.
            columns: texts or numbers of each by name.

        Raises:
            ValueProblem: these do not fit together, or a vector has no direction.
            DataError: another process is writing, or the disk is full.
        """
        made, texts = unit(vectors), checked_texts(names, "names")
        if made.shape[1] != self.channels or len(texts) != len(made):
            raise ValueProblem(
                f"{len(texts)} names and vectors {made.shape} are given; the index has {self.channels} channels"
            )
        kept = {name: checked_column(name, column, len(made)) for name, column in (columns or {}).items()}
        kinds = {name: "number" if isinstance(column, np.ndarray) else "text" for name, column in kept.items()}
        with only_writer(self.folder), system_errors(DataError):
            remove_partial(self.folder / ADDED)  # what killed runs left there
            record = read_index_record(self.folder)
            record.with_shards((), kinds)
            taken = {shard.file for shard in record.shards}
            free = (file for k in count() if (file := f"{ADDED}/{shard_name(k)}") not in taken)
            shards = list(record.shards)
            for start in range(0, len(made), SHARD_ROWS):
                part = slice(start, start + SHARD_ROWS)
                path = self.folder / (file := next(free))
                write_shard(path, made[part], texts[part], {name: column[part] for name, column in kept.items()})
                shards.append(shard_record(path, file, len(made[part]), tuple(kept)))
            write_index_record(record.with_shards(tuple(shards), kinds), self.folder)
        self.refresh()

    def remove(self, names: Iterable[str]) -> int:
        """Remove all rows of these names from what can be found; returns how many. Raises DataError as `add`."""
        unwanted = set(checked_texts(names, "names"))
        with only_writer(self.folder), system_errors(DataError):
            self.refresh()
            before, shards = len(self), []
            for shard in self.shards:
                codes = [code for code, name in enumerate(shard.names.different) if name in unwanted]
                living = shard.living & ~np.isin(shard.names.codes, np.array(codes, np.uint32))
                shards.append(shard.record.without(living))
            write_index_record(self.record.with_shards(tuple(shards), {}), self.folder)
        self.refresh()
        return before - len(self)

    @takes(model=MODEL)
    def calibrate(self, model: AnyModel, inputs: Sequence[Mapping[str, Any]], vectors: np.ndarray) -> None:
        """Learn from pairs where queries by some modalities have to be moved, to find what they mean more often.

        The map stays with the index, whatever is added or removed, until the same modalities are calibrated again.

        Args:
            model: the one that the index was made with.
            inputs: values of each pair, all of the same modalities, as queries have them.
            vectors: (n, channels), what each of them is to find, such as the vectors of their photographs.

        Warns of fewer than 500 pairs. Raises ValueProblem where these do not fit together or are fewer than 20; else as
        `query` and `add`.
        """
        self._check(model)
        calibrate(self.folder, self.by, model, inputs, vectors)
        self.refresh()

    def verify(self) -> list[str]:
        """The files whose content is not what was written, by reading all of them; normally none."""
        files = {each.file: each.sha256 for each in self.record.shards}
        files |= {each.file: each.sha256 for each in self.record.calibrations.values()}
        return [file for file, sha256 in files.items() if not is_whole(self.folder / file, sha256)]
