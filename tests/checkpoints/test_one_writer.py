"""One process at a time saves into a folder, and the next one removes what a killed one left there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_made import SEVEN, config_of, write_model, write_words
from small_runs import ALONE

import anymodal as am
from anymodal.checkpoints.atomic import replacing_file
from anymodal.checkpoints.convert import convert
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.errors import DataError
from anymodal.files import LOCK, only_writer
from anymodal.model import ModelConfig
from anymodal.outputs import Outputs
from anymodal.teachers.towers import PictureTower, TowerConfig, save_tower
from anymodal.tokenizers.tokenizer import VQTokenizer


def depth() -> am.Modality:
    made = am.registry().modality("depth")(size=16, patch=8, codebook=8, latent=4)
    made.tokenizer = VQTokenizer(made.tokenizer_config(*[{"dim": 8, "depth": 1, "heads": 1}] * 2)).eval()
    return made


def model() -> am.AnyModel:
    return am.AnyModel(am.ModalitySet([depth()]), ModelConfig(dim=8, encoder_depth=1, decoder_depth=1, heads=1))


def save_outputs(folder: Path) -> None:
    value, ids = np.zeros((16, 16), np.float32), np.zeros(4, np.int64)
    Outputs(am.ModalitySet([depth()]), {"depth": value}, {}, {"depth": ids}).save(folder)


SAVES: dict[str, Callable[[Path], Any]] = {
    "model": lambda folder: model().save_pretrained(folder),
    "tokenizer": lambda folder: save_tokenizer(depth(), folder),
    "outputs": save_outputs,
    "teacher": lambda folder: save_tower(PictureTower(TowerConfig(dim=8, depth=1, heads=1)), folder),
}


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_the_second_writer_is_told(save: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    save(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with only_writer(folder), pytest.raises(DataError, match=f"another run is writing to {folder}; wait for it"):
        save(folder)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    save(folder)


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_what_a_killed_writer_left_is_removed(save: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / ".anymodal-saving-0a0b").mkdir()
    (tmp_path / ".anymodal-saving-0a0b/model.safetensors").write_bytes(b"half")
    (tmp_path / ".anymodal-grid-x1y2.png").write_bytes(b"half")
    (tmp_path / LOCK).write_bytes(b"")
    (tmp_path / ".mine").write_text("kept")
    save(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".*")] == [".mine"]


def test_two_processes_leave_one_of_their_models(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from anymodal.files import only_writer
with only_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""
    line = [sys.executable, "-c", code, str(tmp_path / "m")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ALONE) as other:
        assert other.stdout and other.stdout.readline() == "locked\n"
        with pytest.raises(DataError, match="another run is writing"):
            model().save_pretrained(tmp_path / "m")
        other.kill()
    model().save_pretrained(tmp_path / "m")
    assert am.load(tmp_path / "m")
    assert not list((tmp_path / "m").rglob(".*"))


def test_a_single_file_has_one_writer_too(tmp_path: Path) -> None:
    write_model(tmp_path / "4M", config_of(SEVEN))
    write_words(tmp_path / "4M")
    target, other = tmp_path / "out.safetensors", tmp_path / "other.safetensors"
    words = next((tmp_path / "4M").glob("text_tokenizer*"))
    with replacing_file(target) as temporary:
        temporary.write_bytes(b"half")
        with pytest.raises(DataError, match="another run is writing"):
            convert(tmp_path / "4M", target, words, to="fourm")
        convert(tmp_path / "4M", other, words, to="fourm")
        assert temporary.exists()
    left = tmp_path / f".saving-{target.name}"
    left.mkdir()
    (left / "tmp123").write_bytes(b"of a killed run")
    convert(tmp_path / "4M", target, words, to="fourm")
    assert target.stat().st_size == other.stat().st_size  # the order of texts in the header is random
    assert not list(tmp_path.rglob(".*"))


def test_a_failure_leaves_nothing_and_no_lock(tmp_path: Path) -> None:
    broken = model()
    broken.modalities["depth"].tokenizer.config = object()
    with pytest.raises(Exception, match=r"."):
        broken.save_pretrained(tmp_path / "a/b")
    assert not list(tmp_path.iterdir())
    torch.manual_seed(0)
    model().save_pretrained(tmp_path / "a/b")
