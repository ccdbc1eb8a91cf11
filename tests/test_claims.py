"""The table of claims: what was measured is kept, goes on where it stopped, and is told as it is."""

import json

import attrs
import numpy as np
import pytest
import torch

import anymodal as am
from anymodal.config import read_config
from anymodal.errors import ConfigError
from anymodal.sampling import Autoregressive, Beam
from benchmarks.claims import matrix, page, siblings, transfers, worlds
from benchmarks.claims.base import CLAIMS, NOTES, SIZES, Claim, Ledger, Verdict, better, interval, load_claim, work_off
from benchmarks.claims.matrix import cells_of
from benchmarks.claims.scores import constants, headline


@attrs.frozen
class Counted(Claim):
    """Pieces that fail from a number on."""

    claim = "pieces are done"
    bar = "all"
    model: str = "tiny"
    fails: int = 9

    def pieces(self):
        for number in range(3):
            yield str(number), lambda number=number: self._do(number)

    def _do(self, number):
        if number >= self.fails:
            raise KeyboardInterrupt
        return number

    def verdict(self, found):
        return Verdict(f"{len(found)} done", len(found) == 3 or None, "three")


def test_a_stopped_run_goes_on_and_other_sizes_are_not_mixed_with_it(tmp_path):
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work_off("counted", Counted(fails=2), said.append, tmp_path)
    kept = json.loads((tmp_path / "counted.json").read_text())
    own = {"model": "tiny", "fails": 2}
    assert kept == {"of": own, "weights": worlds.weights("tiny"), "pieces": {"0": 0, "1": 1}}
    (tmp_path / "counted.json").write_text(json.dumps(kept | {"of": own | {"fails": 9}}))
    said.clear()
    assert work_off("counted", Counted(), said.append, tmp_path).pieces == {"0": 0, "1": 1, "2": 2}
    assert said == ["counted: 2"]
    assert Ledger("counted", Counted(fails=3), tmp_path).pieces == {}


def test_what_was_made_with_other_weights_of_the_same_name_is_made_again(tmp_path, monkeypatch):
    said: list[str] = []
    work_off("counted", Counted(), said.append, tmp_path)
    before, setup = worlds.kept("tiny"), transfers.Setup("semseg", 4, 1, "rgb", 0, 2, "tiny", transfers.Recipe())
    assert setup.folder.is_relative_to(before)
    other = am.load("tiny")
    with torch.no_grad():
        next(other.modalities["depth"].tokenizer.parameters()).add_(1e-3)
    monkeypatch.setattr(worlds, "model", lambda name: other)
    worlds.weights.cache_clear()
    assert worlds.kept("tiny") != before and not setup.folder.is_relative_to(before)
    said.clear()
    assert Ledger("counted", Counted(), tmp_path).pieces == {"0": 0, "1": 1, "2": 2}  # as it is told
    assert work_off("counted", Counted(), said.append, tmp_path).pieces == {"0": 0, "1": 1, "2": 2}
    assert said == ["counted: 0", "counted: 1", "counted: 2"]
    worlds.weights.cache_clear()


def test_a_run_that_was_told_to_stop_has_no_result(tmp_path, monkeypatch):
    setup = transfers.Setup("semseg", 4, 1, "rgb", 0, 2, "tiny", transfers.Recipe())
    monkeypatch.chdir(tmp_path)
    training = {"steps": 1, "batch_size": 1, "lr": 1}
    raw = {"model": "tiny", "inputs": ["rgb"], "task": "boxes", "data": "x", "training": training}
    monkeypatch.setattr(transfers, "config", lambda setup: raw)
    monkeypatch.setattr(am, "train_transfer", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        transfers.score(setup)


def test_rows_say_what_is_left_and_what_was_never_run(tmp_path):
    ledger = Ledger("counted", Counted(), tmp_path)
    assert page._cells(Counted(), ledger, "`do`") == ("not yet run: `do`", "", "")
    ledger.keep("0", 0)
    assert page._cells(Counted(), ledger, "`do`") == ("1 done (2 pieces left to run)", "", "three")
    for piece in ("1", "2"):
        ledger.keep(piece, 0)
    assert page._cells(Counted(), ledger, "`do`") == ("3 done", "yes", "three")


def test_a_table_is_written_between_its_marks_and_nothing_else_changes(tmp_path):
    told = tmp_path / "page.md"
    told.write_text("before\n<!-- table of the claim x -->\nold\n<!-- end of x -->\nafter\n")
    for lines in (["| a |", "| --- |"], ["| b |"]):
        page.write_table(told, "x", lines)
        within = "\n".join(lines)
        assert told.read_text() == f"before\n<!-- table of the claim x -->\n\n{within}\n\n<!-- end of x -->\nafter\n"
    with pytest.raises(ConfigError, match="has no place for a table"):
        page.write_table(told, "y", lines)
    for name in page.rows():  # those that are written have a place
        if place := load_claim(name).page:
            assert f"<!-- table of the claim {name} -->" in (page.DOCS / place).read_text()


def test_retrieval_meets_its_bar_where_each_input_and_each_pair_does():
    claim = load_claim("retrieval", {"seeds": 1})
    scores = {"recall@1": 0.03, "median rank": 9.0}
    found = {piece: {"calibrated": scores, "expected": scores | {"recall@1": 0.01}} for piece, _ in claim.pieces()}
    for piece in ("depth+caption/0", "semseg+caption/0", "depth+normal/0"):
        assert claim.verdict(found).met is False  # a pair that is as good as one of both
        found[piece] = {"calibrated": scores | {"recall@1": 0.04}, "expected": scores}
    assert claim.verdict(found).met is True
    assert claim.table(found)[-1] == "| depth + normal | 4.0 % | 9 | 3.0 % | 9 |"
    weak = {"calibrated": scores | {"recall@1": 0.019}, "expected": scores}
    assert claim.verdict(found | {"canny_edge/0": weak}).met is False
    del found["rgb/0"]
    assert claim.verdict(found).met is None and len(claim.table(found)) == 2 + 8


def test_every_claim_has_sizes_and_a_place_and_may_say_nothing_yet():
    names = page.rows()
    assert set(names) == set(CLAIMS) == set(read_config(SIZES)) and set(read_config(NOTES)) <= set(names)
    for name in names:
        claim = load_claim(name)
        pieces = [piece for piece, _ in claim.pieces()] if name != "matrix" else ["constant"]  # which loads the model
        assert len(set(pieces)) == len(pieces) >= 1 and claim.claim and claim.bar
    with pytest.raises(ConfigError, match="scenes"):
        load_claim("retrieval", {"scens": 3})


def test_the_page_in_the_docs_has_all_rows():
    text = page.PAGE.read_text()
    for name in page.rows():
        assert f"python -m benchmarks.claims {name}`" in text


def test_a_cell_is_better_than_both_baselines_in_the_direction_of_its_score():
    rows = {"own": 0.2, "shuffled": 0.5}
    found = {
        "constant": {"depth": {"0": 0.3, "1": 0.3}, "semseg": {"0": 0.3}},
        "rgb": {
            "0": {"depth": {"score": "abs_rel", **rows}, "semseg": {"score": "miou", **rows}},
            "1": {"depth": {"score": "abs_rel", **rows}},
        },
    }
    cells = cells_of(found)
    assert cells["rgb", "depth"]["beats constant"] and cells["rgb", "depth"]["beats shuffled"]
    assert not cells["rgb", "semseg"]["beats constant"] and not cells["rgb", "semseg"]["beats shuffled"]
    assert cells["rgb", "depth"]["seeds"] == 2
    assert better("accuracy", 2, 1) and better("mean_angle", 1, 2)


def test_constants_have_the_mean_and_intervals_are_of_the_mean():
    values = [np.full((2, 2), float(k), np.float32) for k in range(30)]
    assert any(np.allclose(each, 14.5) for each in constants(values)) and len(constants(values)) == 22
    assert constants(["a", "b"]) == ["a", "b"]
    assert interval([1.0]) == "1.000" and interval([1.0, 1.0, 1.0]) == "1.000 ± 0.000"


def test_a_target_has_the_same_part_of_a_sample_whatever_else_is_asked_for():
    rng = np.random.default_rng(0)
    rows = worlds.model("tiny", ("rgb",)).modalities.layout["rgb.pixels"].space
    made = {"rgb.pixels": rng.normal(size=(rows.length, rows.width)).astype(np.float32)}
    made["depth"] = rng.integers(0, 1024, 64)
    made["caption"] = np.array([40, 41, 42, 3])
    found = {}
    for targets in (("depth",), ("caption", "depth")):
        small = am.AnyModel(worlds.model("tiny", ("rgb", *targets)).modalities, worlds.model("tiny").transformer.config)
        asked = siblings.packed(small, targets, [made, made], (0, 1)).packed.targets
        here = asked.streams == small.modalities.layout.index["depth"]
        first = small.modalities.layout.positions["depth"].start
        found[targets] = asked.labels[here].tolist(), (asked.positions[here] - first).tolist()
        if "caption" in targets:
            assert (asked.streams == small.modalities.layout.index["caption"]).sum() == 2 * 5  # the whole text
    alone, beside = found.values()
    assert alone == beside and len(alone[0]) == 2 * siblings.ASKED
    assert alone[1][: siblings.ASKED] != alone[1][siblings.ASKED :]


def test_tokens_of_scenes_are_made_once_and_read_back(tmp_path, monkeypatch):
    made = [{"depth": np.arange(4) + k, "caption": np.arange(k + 1)} for k in range(worlds.PART)]
    asked = []
    monkeypatch.setattr(worlds, "WORK", tmp_path)
    monkeypatch.setattr(worlds, "_tokenized", lambda *where: asked.append(where) or made)
    for _ in range(2):
        worlds.tokens.cache_clear()
        found = worlds.tokens("tiny", 7, worlds.PART + 3)
        for one, other in zip(found, [*made, *made[:3]], strict=True):
            assert {name: value.tolist() for name, value in one.items()} == {k: v.tolist() for k, v in other.items()}
    assert asked == [("tiny", 7, 0), ("tiny", 7, worlds.PART)]
    worlds.tokens.cache_clear()


class Finds:
    """Finds all."""

    def score(self, predictions, truths):
        return {"found": 1.0}


def test_no_constant_is_perfect_by_the_score_of_a_cell():
    everywhere, true = [["a"], ["a"], ["a"]], [["a"], [], []]
    assert headline(Finds(), everywhere, true) == ("found_f1", 0.5)
    assert headline(Finds(), true, true) == ("found_f1", 1.0)
    edges = worlds.model("tiny").modalities["canny_edge"]
    line = np.zeros((8, 8), np.uint8)
    line[4] = 255
    assert headline(edges, [line // 4], [line]) == ("edge_f1", 1.0)  # an edge of which the model is a quarter sure
    assert headline(edges, [np.full_like(line, 255)], [line])[1] < 0.7


def test_a_cell_is_the_best_single_estimate():
    sets = worlds.model("tiny").modalities
    assert matrix.estimate(sets["canny_edge"])["scheme"] == "mean"
    assert matrix.estimate(sets["normal"]) == {"scheme": "mean", "temperature": 0.7, "guidance": 1.0, "top_p": 0.0}
    alone = {"samples": 1, "guidance": 1.0}
    assert matrix.estimate(sets["caption"]) == {"scheme": Beam(), "temperature": 0.3, **alone}
    assert matrix.estimate(sets["web_text"]) == {"scheme": Autoregressive(), "temperature": 0.0, **alone}
