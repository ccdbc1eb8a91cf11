"""What cannot be written at the end of long work is told before it begins, such as a file whose name a folder has."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import command

import anymodal as am
from anymodal.cli.retrieve import _check_sheet
from anymodal.config import load_config
from anymodal.errors import DataError
from anymodal.evaluation import evaluate
from anymodal.files import check_file, check_folder
from anymodal.plugins.registry import registry
from anymodal.training import TokenizerRun, TrainConfig, train_tokenizer
from anymodal.training.tokenizers.vocabulary import train_vocabulary
from anymodal.transfer import TransferConfig

RECIPES = Path(__file__).parents[1] / "recipes"
TAKEN = "a folder has that name"


def test_a_file_needs_a_folder_and_a_name_that_is_free(tmp_path):
    check_file(tmp_path / "new" / "report.json")
    (tmp_path / "report.json").mkdir()
    with pytest.raises(DataError, match=rf"cannot write .*report.json: {TAKEN}; move it away"):
        check_file(tmp_path / "report.json")
    (tmp_path / "file").write_text("x")
    for check in (check_file, check_folder):
        with pytest.raises(DataError, match="file is not a folder"):
            check(tmp_path / "file" / "report.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "report.json"]


@pytest.mark.parametrize("name", ["report.json", "report.md", "sheet.png", "calibration.png"])
def test_an_evaluation_tells_before_it_looks_for_its_model(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"cannot write .*{name}: {TAKEN}"):
        evaluate("semseg", tmp_path, "no-model", out=tmp_path)


def test_runs_tell_before_they_look_for_their_data(tmp_path):
    (tmp_path / "model").write_text("x")
    with pytest.raises(DataError, match="model is not a folder"):
        am.train(load_config(RECIPES / "tiny" / "model.yaml", TrainConfig), tmp_path)
    with pytest.raises(DataError, match="model is not a folder"):
        am.train_transfer(load_config(RECIPES / "transfer" / "classes.yaml", TransferConfig), tmp_path)
    (tmp_path / "out" / "metrics.json").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"metrics.json: {TAKEN}"):
        am.train_transfer(load_config(RECIPES / "transfer" / "classes.yaml", TransferConfig), tmp_path / "out")
    (tmp_path / "modalities").write_text("x")
    with pytest.raises(DataError, match="modalities is not a folder"):
        train_tokenizer(load_config(RECIPES / "tiny" / "depth.yaml", TokenizerRun), tmp_path)
    (tmp_path / "vocabulary.json").mkdir()
    config = load_config(RECIPES / "tiny" / "vocabulary.yaml", TokenizerRun).vocabulary
    with pytest.raises(DataError, match=rf"vocabulary.json: {TAKEN}"):
        train_vocabulary(config, [], registry().modality("caption")(), tmp_path)


def test_a_sheet_of_hits_is_told_of_before_the_search(tmp_path):
    with pytest.raises(DataError, match=rf"cannot write .*: {TAKEN}"):
        _check_sheet(tmp_path, None)


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "semseg", "DIR", "--model", "tiny", "--out", "OUT"),
        ("data", "check", "DIR", "--sheet", "OUT/sheet.png"),
        ("generate", "caption=a dog", "--to", "rgb", "--animate", "OUT/grows.webp"),
    ],
    ids=lambda words: words[0],
)
def test_commands_tell_it_in_a_sentence(tmp_path, capsys, words):
    for name in ("report.json", "sheet.png", "grows.webp"):
        (tmp_path / "out" / name).mkdir(parents=True)
    given = [word.replace("DIR", str(tmp_path)).replace("OUT", str(tmp_path / "out")) for word in words]
    assert command(*given) == 2
    assert TAKEN in capsys.readouterr().err
