"""An index in a folder: rows in and out, conditions, one writer, and files that nobody should trust."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

import anymodal as am
from anymodal.errors import AnymodalError, ConfigError, DataError, PluginError, ValueProblem
from anymodal.files import only_writer
from anymodal.outputs.fingerprint import Fingerprint
from anymodal.retrieval import SEARCHES, Search, index
from anymodal.retrieval.record import ModelRecord, ShardRecord

CHANNELS = 4


def vectors(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, CHANNELS)).astype(np.float32)


@pytest.fixture
def made(tmp_path: Path) -> am.Index:
    """Ten rows in two files, with a text and a number each."""
    made = am.Index.create(tmp_path / "index", CHANNELS)
    for first in (0, 6):
        rows = range(first, 10 if first else 6)
        columns = {"split": ["val" if row % 2 else "train" for row in rows], "year": [2000 + row for row in rows]}
        made.add(
            vectors(10)[first : rows.stop], [f"street/{row}" if row < 3 else f"home/{row}" for row in rows], columns
        )
    return made


def test_each_vector_finds_itself_and_its_columns(made):
    for row, vector in enumerate(vectors(10)):
        hit = made.search(3 * vector, 1)[0]  # of any length
        assert (hit.row, hit.values) == (row, {"split": "val" if row % 2 else "train", "year": 2000 + row})
        assert hit.name.endswith(f"/{row}") and hit.score == pytest.approx(1, abs=1e-3)
    again = am.Index(made.folder)
    assert len(again) == again.rows == 10 and again.verify() == [] and again.columns == made.columns
    assert np.allclose(np.linalg.norm(again.vectors([9, 0]), axis=1), 1, atol=1e-3)


def test_cosines_are_those_of_the_true_vectors(made):
    query = vectors(3, seed=5)
    rows, scores = made.nearest(query, 10)
    whole, asked = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors(10), query))
    assert np.allclose(np.take_along_axis(asked @ whole.T, rows, 1), scores, atol=2e-3)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("search", ["exact", "usearch"])
def test_no_cosine_is_above_one(tmp_path, search):
    many = vectors(64, seed=1)
    made = am.Index.create(tmp_path / "index", CHANNELS)
    made.add(many, list(map(str, range(64))))
    lengths = np.linalg.norm(made.vectors(range(64)).astype(np.float64), axis=1)
    assert lengths.max() > 1.0001, "half precision made no vector longer"
    for sign in (1, -1):
        _, scores = made.nearest(sign * many, 70, search=search)
        found, none = np.split(scores, [64], axis=1)
        assert (sign * found).max() == 1 and (sign * found).min() >= -1 and (none == -np.inf).all()


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"split": "val"}, {1, 3, 5, 7, 9}),
        ({"name": "street/*"}, {0, 1, 2}),
        ({"name": "home/[34]"}, {3, 4}),
        ({"year": 2004}, {4}),
        ({"year": (2007, None)}, {7, 8, 9}),
        ({"year": (None, 2003), "split": "val"}, {1, 3}),
        ({"split": "vla"}, set()),
        (np.arange(10) == 5, {5}),
    ],
)
def test_conditions_leave_only_rows_that_meet_them(made, where, rows):
    found = made.nearest(vectors(1), 10, where=where)[0][0]
    assert {int(row) for row in found if row >= 0} == rows


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"splti": "val"}, "did you mean 'split'"),
        ({"split": 3}, "is text"),
        ({"year": "2004"}, "is a number"),
        ({"year": (1, 2, 3)}, "is a number"),
        (np.ones(3, bool), r"bool of shape \(10,\)"),
        (np.ones(10), "a mask of the index is bool"),
    ],
)
def test_conditions_that_cannot_be_met_are_told(made, where, said):
    with pytest.raises(ConfigError, match=said):
        made.nearest(vectors(1), where=where)


def test_names_that_look_like_a_pattern_are_found_as_they_are(made):
    made.add(vectors(2, 8), ["photo[1].jpg", "photo1.jpg"])
    found = {hit.name for hit in made.search(vectors(1)[0], where={"name": "photo[1].jpg"})}
    assert found == {"photo[1].jpg", "photo1.jpg"}


def test_rows_that_lack_a_column_meet_no_condition_on_it(made):
    made.add(vectors(1, 8), ["bare"])
    assert made.search(vectors(1, 8)[0], 1)[0].values == {}
    assert not made.search(vectors(1, 8)[0], 1, where={"name": "bare", "year": (None, None)})


def test_removed_rows_are_not_found_and_others_keep_their_numbers(made):
    reader = am.Index(made.folder)
    assert made.remove(["street/1", "home/7", "nobody"]) == 2 and made.remove(["street/1"]) == 0
    assert len(made) == 8 and made.rows == 10
    assert {hit.row for hit in made.search(vectors(1)[0], 10)} == {0, 2, 3, 4, 5, 6, 8, 9}
    assert len(made.search(vectors(1)[0], 10, where=np.arange(10) < 2)) == 1
    assert len(reader.search(vectors(1)[0], 10)) == 10  # what was opened stays
    reader.refresh()
    assert len(reader) == 8


@pytest.mark.parametrize("name", ["a b/ü 漢", "", "x" * 5000, "bad \udce9 byte", "two\nlines"])
def test_names_come_back_as_they_were_given(made, name):
    made.add(vectors(1, 9), [name])
    assert made.search(vectors(1, 9)[0], 1)[0].name == name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.zeros((1, 4)), ["a"]), "number 0 has no direction"),
        ((np.array([[1, np.nan, 0, 0]]), ["a"]), "no direction"),
        ((np.ones((2, 4)), ["a"]), "1 names and vectors"),
        ((np.ones((1, 5)), ["a"]), "the index has 4 channels"),
        ((np.ones(4), ["a"]), "of shape"),
        ((np.ones((1, 4)), ["a"], {"Split": ["x"]}), "cannot be a column"),
        ((np.ones((1, 4)), ["a"], {"name": ["x"]}), "cannot be a column"),
        ((np.ones((1, 4)), ["a"], {"split": ["x", "y"]}), "2 values for 1 row"),
        ((np.ones((1, 4)), ["a"], {"split": [3]}), "holds texts, and the new rows numbers"),
        ((np.ones((1, 4)), ["a"], {"more": [None]}), "neither texts alone nor numbers"),
    ],
)
def test_what_cannot_be_added_changes_nothing(made, given, said):
    before = sorted(made.folder.rglob("*"))
    with pytest.raises(ValueProblem, match=said):
        made.add(*given)
    assert sorted(made.folder.rglob("*")) == before and len(am.Index(made.folder)) == 10


@pytest.mark.parametrize("query", [np.zeros(4), np.ones(3), np.full(4, np.inf)])
def test_queries_without_a_direction_are_refused(made, query):
    with pytest.raises(ValueProblem):
        made.search(query)


def test_a_writer_that_is_killed_leaves_the_index_as_it_was(made, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(index, "write_index_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.add(vectors(5, 7), list("abcde"))
    assert len(am.Index(made.folder)) == 10
    made.add(vectors(1, 8), ["later"])
    assert made.search(vectors(1, 8)[0], 1)[0].name == "later" and len(am.Index(made.folder)) == 11


def test_one_writes_at_a_time(made):
    with only_writer(made.folder), pytest.raises(DataError, match="another run is writing"):
        made.add(vectors(1), ["a"])


def test_many_rows_become_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SHARD_ROWS", 7)
    made = am.Index.create(tmp_path / "index", CHANNELS)
    made.add(vectors(30), [str(row) for row in range(30)], {"half": np.arange(30) / 2})
    assert [len(shard) for shard in made.shards] == [7, 7, 7, 7, 2]
    assert [made.search(v, 1)[0].values["half"] for v in vectors(30)[[0, 8, 29]]] == [0, 4, 14.5]


def test_a_folder_with_other_things_is_left_alone(tmp_path, made):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    for folder, said in ((tmp_path / "full", "other things"), (made.folder, "an index")):
        with pytest.raises(DataError, match=said):
            am.Index.create(folder, CHANNELS)
    with pytest.raises(ConfigError, match="channels"):
        am.Index.create(tmp_path / "wide", 10**9)
    with pytest.raises(DataError, match="holds no index"):
        am.Index(tmp_path / "full")


def changed(record: dict, **values: object) -> dict:
    return {**record, **values}


HOSTILE = {
    "no JSON": lambda r: "{",
    "a list": lambda r: "[]",
    "another kind": lambda r: changed(r, kind="values"),
    "a later format": lambda r: changed(r, format=2),
    "unknown keys": lambda r: changed(r, run="rm"),
    "channels": lambda r: changed(r, channels=10**12),
    "a path upwards": lambda r: changed(r, shards=[changed(r["shards"][0], file="../shard-00000.safetensors")]),
    "an absolute path": lambda r: changed(r, shards=[changed(r["shards"][0], file="/etc/passwd")]),
    "too many rows": lambda r: changed(r, shards=[changed(r["shards"][0], rows=10**6)]),
    "more rows": lambda r: changed(r, shards=[changed(r["shards"][0], rows=7)]),
    "negative rows": lambda r: changed(r, shards=[changed(r["shards"][0], rows=-1)]),
    "another size": lambda r: changed(r, shards=[changed(r["shards"][0], size=10**4)]),
    "a file twice": lambda r: changed(r, shards=[r["shards"][0]] * 2),
    "no such column": lambda r: changed(r, shards=[changed(r["shards"][0], columns=["no"])]),
    "an odd column": lambda r: changed(r, columns={"split": "object"}),
    "wrong bits": lambda r: changed(r, shards=[changed(r["shards"][0], removed="////")]),
    "no base64": lambda r: changed(r, shards=[changed(r["shards"][0], removed="ä")]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_records_are_refused_in_one_line(made, name):
    path = made.folder / "index.json"
    raw = HOSTILE[name](json.loads(path.read_text()))
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    with pytest.raises(DataError) as said:
        am.Index(made.folder)
    assert str(made.folder) in str(said.value) and "\n" not in str(said.value)


@pytest.mark.parametrize("cut", ["header", "end", "gone", "texts"])
def test_damaged_files_are_refused(made, cut):
    path = made.shards[0].path
    content = path.read_bytes()
    if cut == "gone":
        path.unlink()
    elif cut == "texts":  # codes of texts that there are not
        path.write_bytes(content.replace(b"\0\0\0\0\1\0\0\0\2\0\0\0", b"\xff" * 12))
    else:
        path.write_bytes(content[:-1] if cut == "end" else b"\xff" * 8 + content[8:])
    with pytest.raises(DataError):
        am.Index(made.folder).search(vectors(10)[1], 10)


def test_bit_rot_is_found_by_reading_all_of_it(made):
    path = made.shards[1].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert am.Index(made.folder).verify() == [made.shards[1].record.file]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (ModelRecord("b", {"commit": "2"}), "commit"),
        (ModelRecord("b", {"commit": "1"}, tokenizer="y"), "tokenizer"),
        (ModelRecord("b", {"commit": "1"}, "x", Fingerprint("w2"), "float32", ("rgb",)), "weights of transformer"),
        (
            ModelRecord("b", {"commit": "1"}, "x", Fingerprint("w", {"a.decoder": "e"}), "float32", ("rgb",)),
            "a.decoder",
        ),
        (ModelRecord("b", {}, "x", Fingerprint("w"), "float16", ("rgb",)), "made in memory"),
    ],
)
def test_another_model_is_told_from_this_one(other, said):
    own = ModelRecord("a", {"commit": "1"}, "x", Fingerprint("w", {"a.decoder": "d"}), "float32", ("rgb",))
    assert said in own.difference(other) and said in other.difference(own)


def test_the_same_model_in_other_numbers_or_with_fewer_modalities_is_the_same():
    own = ModelRecord("a", {"commit": "1"}, "x", Fingerprint("w"), "float32", ("rgb", "depth"))
    assert not own.difference(attrs.evolve(own, weights=Fingerprint("v"), dtype="float16"))
    assert not own.difference(attrs.evolve(own, weights=Fingerprint("v"), modalities=("rgb",)))
    assert not own.difference(ModelRecord(source={"commit": "1"}))  # as far as is known before it is loaded


def test_a_search_of_ones_own_is_one_more_entry(made):
    @SEARCHES.add
    @attrs.frozen
    class First(Search):
        """The first rows, whatever is asked for."""

        name: str = attrs.field(init=False, default="first")
        start: int = 0

        def nearest(self, index, queries, top, allowed):
            rows = np.tile(np.arange(self.start, self.start + top), (len(queries), 1))
            return rows, np.zeros(rows.shape)

    try:
        assert [hit.row for hit in made.search(vectors(1)[0], 3, search="first")] == [0, 1, 2]
        assert [hit.row for hit in made.search(vectors(1)[0], 2, search=First(4))] == [4, 5]
    finally:
        SEARCHES.remove("first")
    with pytest.raises(ConfigError, match="did you mean 'exact'"):
        made.search(vectors(1)[0], search="exatc")


def test_usearch_finds_the_same_or_says_what_is_missing(made, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    try:
        SEARCHES("usearch").check()
    except PluginError as error:
        assert "anymodal[index]" in str(error)
        return
    made.remove(["street/1"])
    for where in (None, {"split": "val"}, np.arange(10) != 4):
        for mine, exact in zip(
            made.nearest(vectors(3, 4), 5, where=where, search="usearch"),
            made.nearest(vectors(3, 4), 5, where=where),
            strict=True,
        ):
            assert np.array_equal(mine, exact)
    (graph,) = (tmp_path / "cache/graphs").iterdir()
    graph.write_bytes(graph.read_bytes()[:100])  # cut short: it is made again
    assert made.search(vectors(10)[0], 1, search="usearch")[0].row == 0
    for effort in (300, 500):  # also of a graph that is read from its file, one for both
        assert SEARCHES({"name": "usearch", "expansion_search": effort}).graph(made).expansion_search == effort
    assert len(list((tmp_path / "cache/graphs").iterdir())) == 1


def test_usearch_finds_what_is_allowed_also_where_nothing_near_is(tmp_path, monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    dogs, cats = np.eye(CHANNELS)[:2]
    many = np.concatenate([np.tile(dogs, (40, 1)), np.tile(cats, (60, 1))]) + 0.1 * vectors(100)
    made = am.Index.create(tmp_path / "index", CHANNELS)
    made.add(many, list(map(str, range(100))), {"kind": ["dog"] * 40 + ["cat"] * 60})

    def same(where: dict[str, str] | None) -> None:
        mine, exact = (made.nearest(np.stack([dogs, cats]), 5, where=where, search=s) for s in ("usearch", "exact"))
        assert np.array_equal(mine[0], exact[0]) and (mine[0] >= 40).all() and np.allclose(mine[1], exact[1])

    same({"kind": "cat"})  # all of a dog's neighbors are dogs
    made.remove(list(map(str, range(40))))
    same(None)


def test_living_rows_are_bits(made):
    record = ShardRecord("a", 11, 0, "")
    living = np.arange(11) % 3 > 0
    assert np.array_equal(record.without(living).living(), living) and record.without(living | True).removed == ""
    with pytest.raises(ValueError, match="11 rows"):
        attrs.evolve(record, removed="AA==").living()
    assert issubclass(DataError, AnymodalError)
