"""What a hostile or unlucky caller hands to an index: one error that says what is wrong, and nothing half-written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from changed_json import with_each_value_changed

import anymodal as am
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem
from anymodal.retrieval import SEARCHES, record

UNIT = np.eye(4)


@pytest.fixture
def made(tmp_path: Path) -> am.Index:
    made = am.Index.create(tmp_path / "index", 4)
    made.add(UNIT, list("abcd"), {"year": [1, 2, 3, 4], "word": list("wxyz")})
    return made


def test_an_empty_index_finds_nothing(tmp_path):
    empty = am.Index.create(tmp_path / "index", 4)
    assert empty.search(UNIT[0]) == [] and empty.search(UNIT[0], where={"name": "a*"}) == []
    assert empty.vectors([]).shape == (0, 4)


@pytest.mark.parametrize("channels", [True, 2.5, "4", math.nan, None, 10**400, -1])
def test_an_impossible_length_of_vectors_begins_no_index(tmp_path, channels):
    with pytest.raises(ConfigError, match="channels is a whole number"):
        am.Index.create(tmp_path / "index", channels)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ([1, 2, 3, 4], {}),
        ("abcd", {}),
        (None, {}),
        (["\ud800", "b", "c", "d"], {}),
        (list("abcd"), {5: [1, 2, 3, 4]}),
        (list("abcd"), {"ragged": [[1], [2, 3], 4, 5]}),
        (list("abcd"), {"text": "wxyz"}),
        (list("abcd"), {"text": ["\ud800", "x", "y", "z"]}),
        (list("abcd"), {"lazy": (k for k in range(4))}),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_add_nothing(made, names, columns):
    with pytest.raises(ValueProblem):
        made.add(UNIT, names, columns)
    assert am.Index(made.folder).rows == 4


def test_vectors_have_a_direction_whatever_their_length(made):
    with np.errstate(all="raise"):
        for factor in (1e200, 1e-200, 5e-324):
            assert made.search(factor * UNIT[2], 1)[0].name == "c"
    with pytest.raises(ValueProblem, match="different lengths"):
        made.add([[1, 2], [3]], ["a", "b"])


@pytest.mark.parametrize("top", [True, 2.5, "4", math.nan, None, 0])
def test_a_number_of_hits_that_is_none_is_refused(made, top):
    with pytest.raises(ConfigError, match="top is a whole number"):
        made.search(UNIT[0], top)
    assert len(made.search(UNIT[0], np.int64(2))) == 2


@pytest.mark.parametrize(
    "where",
    [[True] * 4, "year", {5: 1}, {"year": math.nan}, {"year": (math.nan, 2)}, {"year": 10**400}, {"year": True}],
)
def test_conditions_that_mean_nothing_are_refused_not_passed_over(made, where):
    with pytest.raises(ConfigError):
        made.search(UNIT[0], where=where)
    assert [hit.name for hit in made.search(UNIT[0], where={"year": np.int64(2)})] == ["b"]


def test_rows_that_there_are_not_are_told(made):
    for rows in ([4], [-2], ["a"], [1.5]):
        with pytest.raises(ValueProblem, match="rows"):
            made.vectors(rows)
    for row in (4, -2):
        with pytest.raises(ValueProblem, match="the index has the rows 0 to 3"):
            made.hits([row], [0.0])
    assert made.hits([-1], [0.0]) == []
    with pytest.raises(ValueProblem, match="each row has a score, got 2 rows and 1 score"):
        made.hits([0, 1], [0.0])


@pytest.mark.parametrize("names", ["abcd", [5], [["a"]], None])
def test_one_text_is_no_list_of_names_to_remove(made, names):
    with pytest.raises(ValueProblem, match="names are"):
        made.remove(names)
    assert len(made) == 4


def test_an_index_that_could_not_be_read_again_is_not_written(made, monkeypatch):
    monkeypatch.setattr(record, "MAX_TEXT_BYTES", (made.folder / "index.json").stat().st_size + 10)
    before = (made.folder / "index.json").read_bytes()
    with pytest.raises(DataError, match="add more rows at once"):
        made.add(UNIT, list("efgh"))
    assert (made.folder / "index.json").read_bytes() == before and am.Index(made.folder).rows == 4


def test_remains_of_a_killed_run_go_with_the_next_one(made):
    remains = made.folder / "added/.anymodal-shard-00001-x.safetensors"
    remains.write_bytes(b"half")
    made.add(UNIT, list("efgh"))
    assert not remains.exists()


def test_damage_of_vectors_is_told_and_files_that_are_gone_are_named(made):
    (file,) = (made.folder / "added").glob("*.safetensors")
    data, row = bytearray(file.read_bytes()), np.float16([0, 0, 1, 0]).tobytes()
    place = data.index(row)
    data[place : place + 8] = np.full(4, np.inf, np.float16).tobytes()
    file.write_bytes(data)
    rotten = am.Index(made.folder)
    with pytest.raises(DataError, match="not finite"):
        rotten.search(np.ones(4))
    assert rotten.verify() == ["added/shard-00000.safetensors"]
    file.unlink()
    assert rotten.verify() == ["added/shard-00000.safetensors"]


@pytest.mark.parametrize("value", [-1, 10**9, math.nan, True, "x"])
def test_numbers_of_a_graph_are_bounded(value):
    with pytest.raises(ConfigError):
        SEARCHES({"name": "usearch", "connectivity": value})


LEAVES = [None, True, -1, 1.5, 10**30, "../../etc/passwd", "\ud800", [], {}, [1], {"a": 1}, "A" * 10_000]


def test_nothing_in_the_record_of_an_index_ends_in_another_error(made):
    path = made.folder / "index.json"
    for changed in with_each_value_changed(path.read_text(), LEAVES):
        path.write_text(changed)
        try:
            am.Index(made.folder).search(UNIT[0], 3, where={"name": "a*"})
        except AnymodalError as error:
            assert len(str(error)) < 600
