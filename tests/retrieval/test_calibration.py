"""What an index learns of its queries from pairs: the best map there is, kept beside the vectors, and not trusted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from changed_json import with_each_value_changed
from conftest import build_set
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_runs import command

import anymodal as am
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem
from anymodal.model import ModelConfig
from anymodal.retrieval import calibration
from anymodal.retrieval.calibration import ENOUGH_PAIRS, learned
from anymodal.retrieval.shards import unit
from anymodal.tokenizers.tokenizer import VQTokenizer

BY, PAIRS = "dinov2_global", 24


def fresh_model(vocabulary) -> am.AnyModel:
    torch.manual_seed(3)
    vector = am.registry().modality(BY)(channels=8, codebooks=2, codebook=16, latent=8)
    vector.tokenizer = VQTokenizer(vector.tokenizer_config({"width": 8, "blocks": 1}, {"width": 8, "blocks": 1})).eval()
    members = [*build_set(["rgb", "caption", "depth"], vocabulary), vector]
    model = am.AnyModel(
        am.ModalitySet(members, vocabulary), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    )
    with torch.no_grad():
        model.transformer.output_table.mul_(20)
    return model


@pytest.fixture
def model(vocabulary) -> am.AnyModel:
    return fresh_model(vocabulary)


def captions(count: int = PAIRS) -> list[dict[str, str]]:
    words = ["red", "blue", "green", "gray", "car", "house", "dog", "tree", "street", "beach"]
    return [{"caption": f"{words[k % 10]} {words[k * 7 % 9]} {k}"} for k in range(count)]


@pytest.fixture
def index(model, tmp_path) -> tuple[am.Index, np.ndarray]:
    """Vectors that are those of captions turned by a rotation, and what is expected of the captions."""
    made = am.Index.create(tmp_path / "index", 8, model=model, by=BY)
    expected = model.embed_batch(captions(), BY, normalize=True)
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))
    made.add(expected @ turn, [str(k) for k in range(PAIRS)])
    return made, expected


# The map.


@given(st.integers(0, 10**6), st.integers(20, 60), st.integers(2, 12), st.floats(1e-3, 10))
@settings(max_examples=25, deadline=None)
def test_errors_of_those_left_out_are_those_of_leaving_them_out(seed, rows, channels, ridge):
    rng = np.random.default_rng(seed)
    given, wanted = rng.standard_normal((2, rows, channels))
    centered = given - given.mean(0)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    beyond = (wanted - given) - (wanted - given).mean(0)
    quick = calibration._left_out(left, sizes**2 / (sizes**2 + ridge), left.T @ beyond, beyond)
    errors = []
    for row in range(rows):
        x, y = np.delete(given, row, 0), np.delete(wanted - given, row, 0)
        known = x - x.mean(0)
        weights = np.linalg.solve(known.T @ known + ridge * np.eye(channels), known.T @ (y - y.mean(0)))
        errors.append(wanted[row] - given[row] - y.mean(0) - (given[row] - x.mean(0)) @ weights)
    assert quick == pytest.approx(np.mean(np.square(errors)), rel=1e-6)


def world(seed: int, count: int, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, and what is predicted of them: moved, bent to few directions, and uncertain."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    wanted = rng.standard_normal((count, 16))
    bent = wanted * np.geomspace(1, 0.05, 16) + 2 * fixed.standard_normal(16)
    return unit(bent + noise * rng.standard_normal((count, 16)) * np.geomspace(1, 0.05, 16)), unit(wanted)


def recall(queries: np.ndarray, wanted: np.ndarray) -> float:
    return float(((queries @ wanted.T).argmax(1) == np.arange(len(wanted))).mean())


@pytest.mark.parametrize("pairs", [20, 60, 500])
def test_more_is_found_even_from_few_pairs(pairs):
    queries, wanted = world(1, 400)
    before, after = recall(queries, wanted), recall(learned(*world(2, pairs))(queries), wanted)
    assert after > (1.5 if pairs == 20 else 3) * before


def test_pairs_that_say_nothing_move_little():
    rng = np.random.default_rng(0)
    queries, wanted = unit(rng.standard_normal((30, 16))), unit(rng.standard_normal((30, 16)))
    moved = learned(queries, queries)(queries)
    assert np.allclose(moved, queries, atol=1e-6)  # they lie where they should
    assert np.isfinite(learned(np.repeat(queries[:1], 30, 0), wanted).weights).all()  # all are the same


@pytest.mark.parametrize("shape", [(19, 4), (20, 5), (0, 4)])
def test_pairs_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueProblem, match="at least 20 pairs"):
        learned(np.ones(shape), np.ones((19 if shape[1] == 4 else 20, 4)))


# In an index.


def test_calibrated_queries_find_what_they_mean_whatever_else_happens_to_the_index(index, model):
    made, expected = index
    wanted = made.vectors(range(PAIRS)).astype(float)
    assert (expected * wanted).sum(1).mean() < 0.5
    assert np.array_equal(made.calibrated(expected, ["caption"]), unit(expected))  # nothing was learned yet
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    for change in (lambda: None, lambda: made.add(np.eye(8), list("abcdefgh")), lambda: made.remove(list("abcdefgh"))):
        change()
        again = am.Index(made.folder)
        for one in (made, again):
            found = one.query_vectors(model, captions())
            assert (found * wanted).sum(1).mean() > 0.99
            assert np.allclose(found, one.calibrated(expected, ("caption",)), atol=1e-5)
        hit = again.query(model, captions()[3], 1)[0]
        assert hit.score == pytest.approx(float(again.nearest(found[3:4], 1)[1][0, 0]), abs=1e-5)
    assert again.verify() == []


def test_only_queries_that_were_calibrated_are_moved(index, model):
    made, expected = index
    depth = np.linspace(1, 9, 32 * 32, dtype=np.float32).reshape(32, 32)
    both = {**captions()[0], "depth": depth}
    before = made.query_vectors(model, [both])
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    assert np.array_equal(made.query_vectors(model, [both]), before)
    drawn = made.query_vectors(model, captions(1), draws=2)
    moved = made.query_vectors(model, captions(1))
    assert not np.allclose(moved, unit(expected[:1]), atol=0.1) and not np.allclose(drawn, moved, atol=0.01)
    assert np.allclose(made.query_vectors(model, [{BY: expected[2]}]), unit(expected[2:3]), atol=1e-6)
    alone = made.query_vectors(model, [{"depth": depth}])
    summed = made.query_vectors(model, [both], weights={"caption": 2.0})
    assert np.allclose(summed, unit(2 * moved + alone), atol=1e-5)  # each as it is alone


def test_calibrating_again_replaces_what_was_learned(index, model):
    made, _ = index
    for vectors in (made.vectors(range(PAIRS)), made.vectors(range(PAIRS))[::-1]):
        made.calibrate(model, captions(), vectors)
    made.calibrate(model, [{"rgb": np.full((32, 32, 3), k, np.uint8)} for k in range(PAIRS)], vectors)
    assert set(made.record.calibrations) == {"caption", "rgb"}
    files = sorted(f"calibrations/{path.name}" for path in (made.folder / "calibrations").iterdir())
    assert files == sorted(each.file for each in made.record.calibrations.values())


def test_pairs_of_several_kinds_or_by_the_vectors_themselves_are_refused(index, model):
    made, expected = index
    with pytest.raises(ValueProblem, match="the same modalities"):
        made.calibrate(model, [*captions(23), {"rgb": np.zeros((32, 32, 3), np.uint8)}], expected)
    with pytest.raises(ValueProblem, match="other than 'dinov2_global'"):
        made.calibrate(model, [{BY: vector} for vector in expected], expected)
    assert not made.record.calibrations and not (made.folder / "calibrations").exists()


def test_a_model_whose_decoder_or_encoder_was_exchanged_is_refused(index, vocabulary):
    made, expected = index
    other = fresh_model(vocabulary)
    with torch.no_grad():
        next(other.modalities[BY].tokenizer.decoder.parameters()).add_(0.1)
    with pytest.raises(DataError, match=r"others are its weights of dinov2_global\.decoder"):
        made.query(other, captions()[0])
    same = fresh_model(vocabulary)
    rows = np.linspace(1, 9, PAIRS * 32 * 32, dtype=np.float32).reshape(PAIRS, 32, 32)
    made.calibrate(same, [{"depth": row} for row in rows], expected)
    third = fresh_model(vocabulary)
    with torch.no_grad():
        next(third.modalities["depth"].tokenizer.encoder.parameters()).add_(0.1)
    with pytest.raises(DataError, match=r"calibrated for depth with another depth\.encoder; calibrate it again"):
        made.query(third, {"depth": rows[0]})


def test_an_index_from_before_there_were_calibrations_opens_and_is_asked(index, model):
    made, _ = index
    path = made.folder / "index.json"
    raw = json.loads(path.read_text())
    del raw["calibrations"]
    raw["model"]["weights"] = raw["model"]["weights"]["transformer"]
    path.write_text(json.dumps(raw))
    assert len(am.Index(made.folder).query(model, captions()[0], 3)) == 3
    raw["model"]["weights"] = "0" * 32
    path.write_text(json.dumps(raw))
    with pytest.raises(DataError, match="weights of transformer"):
        am.Index(made.folder).query(model, captions()[0], 3)


# Hostile.


@pytest.mark.parametrize("damage", ["gone", "short", "nan", "long"])
def test_damaged_calibrations_are_refused_and_named(index, model, damage):
    made, expected = index
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    (file,) = (each.file for each in made.record.calibrations.values())
    path = made.folder / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"short": content[:-1], "long": content + b"x", "nan": content[:-8] + np.float64("nan").tobytes()}[damage]
        )
    opened = am.Index(made.folder)
    assert opened.verify() == [file]
    with pytest.raises(DataError, match=path.name):
        opened.calibrated(expected, ["caption"])


LEAVES = [None, True, -1, 1.5, 10**30, "../../etc/passwd", [], {}, "A" * 10_000]


def test_nothing_in_the_record_of_a_calibration_ends_in_another_error(index, model):
    made, expected = index
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    path = made.folder / "index.json"
    raw = json.loads(path.read_text())
    for changed in with_each_value_changed(json.dumps({"calibrations": raw["calibrations"]}), LEAVES):
        try:
            given = json.loads(changed)
        except ValueError:
            continue
        path.write_text(json.dumps(raw | given if isinstance(given, dict) else given))
        try:
            am.Index(made.folder).calibrated(expected[:2], ["caption"])
        except AnymodalError as error:
            assert len(str(error)) < 600


# The command.


def test_the_command_learns_from_a_dataset_and_names_what_it_left_out(model, tmp_path, capsys):
    model.save_pretrained(tmp_path / "model")
    for folder in ("rgb", "caption"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for k, each in enumerate(captions()):
        Image.new("RGB", (32, 32), (10 * k, 255 - 10 * k, 7 * k)).save(tmp_path / f"data/rgb/{k:02}.png")
        (tmp_path / f"data/caption/{k:02}.txt").write_text(each["caption"])
    (tmp_path / "data/rgb/03.png").write_bytes(b"no picture")
    (tmp_path / "data/caption/05.txt").unlink()
    am.Index.create(tmp_path / "index", 8, model=am.load(tmp_path / "model"), by=BY)
    asked = ("retrieve", "calibrate", tmp_path / "index", tmp_path / "data", "--model", tmp_path / "model")
    assert command(*asked, "--from", "caption,caption+rgb", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {name: {"pairs": 22, "left_out": 2} for name in ("caption", "caption+rgb")}
    record = am.Index(tmp_path / "index").record
    assert {name: each.pairs for name, each in record.calibrations.items()} == dict.fromkeys(said, 22)
    for names, told in (
        ("depth", "has no 'depth'"),
        (BY, "is what is found"),
        ("captoin", "did you mean 'caption'"),
        (",", "names no modality"),
    ):
        assert command(*asked, "--from", names, "--quiet") == 2  # loading says how long it takes, on a busy machine
        assert told in (error := capsys.readouterr().err) and len(error.strip().splitlines()) == 1
    for k in range(4, 9):
        (tmp_path / f"data/rgb/{k:02}.png").unlink()
    assert command(*asked, "--from", "caption", "--quiet") == 2
    assert "18 samples can be used for caption, and 20 are needed" in capsys.readouterr().err
    assert am.Index(tmp_path / "index").record == record


@pytest.mark.parametrize("pairs", [ENOUGH_PAIRS - 1, ENOUGH_PAIRS])
def test_few_pairs_are_warned_of(index, model, pairs, caplog):
    made, expected = index
    made.calibrate(model, captions(pairs), np.resize(expected, (pairs, 8)))
    few = "caption: calibrated from 499 pairs; with fewer than 500, some queries find no more than without"
    assert [each.getMessage() for each in caplog.records] == [few] * (pairs < ENOUGH_PAIRS)


def test_an_open_index_keeps_what_it_learned_when_others_calibrate(model, index):
    made, expected = index
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    opened = am.Index(made.folder)
    before = made.calibrated(expected, ["caption"])
    am.Index(made.folder).calibrate(model, captions(), expected[::-1])
    assert np.array_equal(opened.calibrated(expected, ["caption"]), before)
    opened.refresh()
    assert not np.allclose(opened.calibrated(expected, ["caption"]), before)


def test_names_of_what_is_asked_by_are_a_list(model, index, tmp_path):
    """The letters of one name are no modalities; the same name twice is one."""
    made, expected = index
    made.calibrate(model, captions(), made.vectors(range(PAIRS)))
    twice = made.calibrated(expected, ["caption", "caption"])
    assert np.array_equal(twice, made.calibrated(expected, ["caption"]))
    for names in ("caption", 5, [5], []):
        with pytest.raises(ValueProblem, match="list of modalities"):
            made.calibrated(expected, names)
    for asked in ("caption", None, ["caption"], [[5]], [[]], 5):
        with pytest.raises(ValueProblem, match="list"):
            am.retrieval.calibrate_index(made, model, tmp_path, asked)
    for inputs in (None, [5] * PAIRS, [{5: "a"}] * PAIRS, [{}] * PAIRS, {"caption": "a"}):
        with pytest.raises(ValueProblem, match="list"):
            made.calibrate(model, inputs, expected)


def test_what_cannot_be_calibrated_is_told_before_data_is_read(model, index, tmp_path, capsys):
    made, expected = index
    for count in (0, -1, 19, True, "20", 20.0):
        with pytest.raises(ConfigError, match="count is"):
            am.retrieval.calibrate_index(made, model, tmp_path / "nosuch", [["caption"]], count=count)
    own = am.Index.create(tmp_path / "own", 8)
    own.add(expected, [str(k) for k in range(PAIRS)])
    with pytest.raises(DataError, match="holds vectors of no modality"):
        am.retrieval.calibrate_index(own, model, tmp_path / "nosuch", [["caption"]])
    assert command("retrieve", "calibrate", own.folder, tmp_path, "--from", "caption") == 2
    assert "holds vectors of no modality" in capsys.readouterr().err


def test_an_index_of_too_many_channels_has_no_calibrations(model, index):
    """Their square is what a file of them would hold."""
    made, expected = index
    made.calibrate(model, captions(), expected)
    path = made.folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channels": 60_000, "shards": []}))
    with pytest.raises(DataError, match="calibrations of 60000 channels"):
        am.Index(made.folder)


@pytest.mark.parametrize("weights", [np.ones(1), 5, "caption", ["caption"], {5: 1.0}])
def test_weights_of_a_query_are_a_dict_of_its_inputs(model, index, weights):
    with pytest.raises(ConfigError, match=r"weights are a dict such as|is no input"):
        index[0].query(model, captions()[0], weights=weights)


def test_no_queries_are_no_vectors(model, index):
    assert index[0].query_vectors(model, []).shape == (0, 8)
