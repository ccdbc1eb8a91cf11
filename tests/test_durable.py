"""Power cuts: whatever moment they come at, what has a name is whole, and what was there before is not lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from datasets_made import write_pictures
from power_cuts import Disk, power_cuts

import anymodal as am
from anymodal.data.jobs.label import label_dataset
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.durable import PREFIX, scratch, write_all
from anymodal.errors import AnymodalError
from anymodal.files import replacing, write_json
from anymodal.model import ModelConfig
from anymodal.nn.distributed import alone
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.checkpoint import CheckpointFolder, SavingConfig
from anymodal.training.stored import newest_checkpoint

BOOKS = ("manifest.json", "plan.json", "problems.jsonl")  # written more than once


def model_of(seed: int) -> am.AnyModel:
    torch.manual_seed(seed)
    depth = am.registry().modality("depth")(size=16, patch=8, codebook=8, latent=4)
    depth.tokenizer = VQTokenizer(depth.tokenizer_config(*[{"dim": 8, "depth": 1, "heads": 1}] * 2)).eval()
    return am.AnyModel(am.ModalitySet([depth]), ModelConfig(dim=8, encoder_depth=1, decoder_depth=1, heads=1))


def numbers(model: am.AnyModel) -> float:
    parts = (model.transformer, model.modalities["depth"].tokenizer)
    return float(sum(each.detach().double().sum() for part in parts for each in part.parameters()))


def assert_whole(disk: Disk, within: Path) -> None:
    """Every file that has its own name holds what it holds in the end, and every book can be read."""
    final = {str(path.relative_to(disk.folder)): path.read_bytes() for path in disk.folder.rglob("*") if path.is_file()}
    assert len(disk.states) > 10
    seen = set()
    for found in disk.states.values():
        for name, content in found.items():
            if content is None or any(part.startswith((PREFIX, "value-", ".lock")) for part in name.split("/")):
                continue
            seen.add(name)
            if Path(name).name in BOOKS or "/.jobs/" in f"/{name}":
                for text in content.splitlines() if name.endswith(".jsonl") else [content]:
                    assert json.loads(text), f"{name} is damaged"
            else:
                assert content == final[name], f"{name} has {len(content)} bytes, {len(final[name])} in the end"
    assert final.keys() <= seen | {".lock"}


@pytest.mark.parametrize("keep", [1, 2])
def test_power_cuts_leave_a_checkpoint_of_a_run(keep: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saving = SavingConfig(keep=keep, background=False)
    with power_cuts(tmp_path / "disk", monkeypatch) as disk:
        folder = CheckpointFolder(disk.folder / "checkpoints", saving, alone("cpu"))
        saved = []
        for step in (1, 2, 3, 3):
            folder.save(step, {"model/w": torch.full((1000,), float(step))}, {"score": None})
            saved.append((len(disk.history), step))
    newest = []
    for left in disk.left(tmp_path / "left"):
        CheckpointFolder(left / "checkpoints", saving, alone("cpu"))  # as a run that is taken up begins
        path = newest_checkpoint(left / "checkpoints")
        newest.append(0 if path is None else int(path.name[-8:]))
    assert set(newest) == {0, 1, 2, 3}
    for moment, step in saved:
        assert all(newest[state] >= step for state in disk.history[moment:]), f"step {step} was lost"


def test_power_cuts_leave_one_model_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = model_of(1), model_of(2)
    with power_cuts(tmp_path / "disk", monkeypatch) as disk:
        old.save_pretrained(disk.folder / "model")
        saved = len(disk.history)
        new.save_pretrained(disk.folder / "model")
    looked_at = {*disk.history[saved:][::12], *disk.history[saved:][:4], *disk.history[:saved:30]}
    wanted, held = [numbers(old), numbers(new)], {}
    for number, left in enumerate(disk.left(tmp_path / "left")):
        if number in looked_at:
            try:
                held[number] = wanted.index(numbers(am.load(left / "model")))
            except AnymodalError:
                held[number] = -1
    assert {held[state] for state in disk.history[saved:] if state in held} == {0, 1}


def test_power_cuts_leave_whole_files_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_pictures(tmp_path / "data", 3, modalities=("rgb",)) / "rgb"
    for layout in ("tars", "folder"):
        with power_cuts(tmp_path / layout, monkeypatch) as disk:
            label_dataset(str(photos), {"color_palette": None}, disk.folder / "out", layout=layout, workers=1)
        assert_whole(disk, tmp_path)


def test_power_cuts_leave_whole_files_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_pictures(tmp_path / "data", 3)
    words = am.Vocabulary.train(["a red cup on a table"] * 9, size=4600)
    with power_cuts(tmp_path / "disk", monkeypatch) as disk:
        tokenize_dataset(data, lambda: am.ModalitySet(["caption"], words), disk.folder / "out", workers=1)
    assert_whole(disk, tmp_path)


def test_power_cuts_leave_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with power_cuts(tmp_path / "disk", monkeypatch) as disk:
        write_all((disk.folder / f"some/{k}.txt", b"text") for k in range(3))
        for value in ({"a": 1}, {"a": 2}):
            write_json(value, disk.folder / "new/deep/x.json")
    names = {name: content for found in disk.states.values() for name, content in found.items() if PREFIX not in name}
    assert {content for name, content in names.items() if name.startswith("some/")} == {b"text"}
    held = [found.get("new/deep/x.json") for found in disk.states.values()]
    assert {each and json.loads(each)["a"] for each in held} == {None, 1, 2}
    assert json.loads(held[-1])["a"] == 2, "the last state is what was synced last"


def test_the_simulation_finds_what_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with power_cuts(tmp_path / "disk", monkeypatch) as disk:
        (disk.folder / "a.tmp").write_bytes(b"content")
        (disk.folder / "a.tmp").replace(disk.folder / "a")
    assert {"a": b""} in disk.states.values() and {} in disk.states.values()


def test_nothing_is_synced_that_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with power_cuts(tmp_path / "disk", monkeypatch) as disk, scratch(disk.folder) as folder:
        with replacing(folder / "a.txt") as temporary:
            temporary.write_text("a")
        assert (folder / "a.txt").read_text() == "a"
        assert not disk.contents
