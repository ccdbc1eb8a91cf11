"""Saving is whole or nothing: whatever interrupts it, and whatever else lies in the folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from published_made import same

import anymodal as am
from anymodal.checkpoints import atomic
from anymodal.checkpoints.tokenizer import load_tokenizer, save_tokenizer
from anymodal.errors import CheckpointError
from anymodal.model import ModelConfig
from anymodal.tokenizers.tokenizer import VQTokenizer

SIZE = ModelConfig(dim=8, encoder_depth=1, decoder_depth=1, heads=2)


def model_of(*names: str, seed: int, vocabulary: object = None) -> am.AnyModel:
    """A model of random weights over images at 32 pixels, with a tokenizer each."""
    torch.manual_seed(seed)
    members = []
    for name in names:
        modality = am.registry().modality(name)(size=32, patch=16, codebook=16, latent=4)
        modality.tokenizer = VQTokenizer(modality.tokenizer_config(*[{"dim": 8, "depth": 1, "heads": 2}] * 2)).eval()
        members.append(modality)
    if vocabulary is not None:
        members.append(am.registry().modality("caption")(length=8))
    return am.AnyModel(am.ModalitySet(members, vocabulary), SIZE)


def whole_tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def holds(folder: Path, *models: am.AnyModel) -> list[bool]:
    """Which of some models a folder holds exactly, their tokenizers too."""
    loaded = am.load(folder)
    return [is_same(loaded, model) for model in models]


def is_same(loaded: am.AnyModel, model: am.AnyModel) -> bool:
    if list(loaded.modalities.modalities) != list(model.modalities.modalities):
        return False
    pairs = [(loaded.modalities[m.name].tokenizer, m.tokenizer) for m in model.modalities]
    states = [(a.state_dict(), b.state_dict()) for a, b in pairs if b is not None]
    alike = all(torch.equal(a[key], b[key]) for a, b in states for key in b)
    shaped = loaded.transformer.input_table.shape == model.transformer.input_table.shape
    return shaped and alike and same(loaded.transformer, model.transformer)


@pytest.fixture(scope="module")
def old() -> am.AnyModel:
    return model_of("depth", "rgb", seed=0)


@pytest.fixture(scope="module")
def new() -> am.AnyModel:
    return model_of("depth", "normal", seed=1)


def test_a_model_over_another_leaves_nothing_of_it_and_all_that_is_not_its_own(vocabulary, new, tmp_path):
    speaking = model_of("depth", "rgb", seed=0, vocabulary=vocabulary)
    folder = speaking.save_pretrained(tmp_path, max_shard_size="50KB")
    assert {"vocabulary.json", "model.safetensors.index.json"} <= set(whole_tree(folder))
    others = ["notes.txt", ".git/HEAD", "modalities/rgb/notes.txt", "modalities/mine/model.safetensors"]
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    new.save_pretrained(folder)
    written = ("config.json", "model.safetensors")
    parts = [f"modalities/{name}/{file}" for name in ("depth", "normal") for file in written]
    assert whole_tree(folder) == sorted([*others, *parts, *written, "README.md"])
    assert {(folder / name).read_text() for name in others} == {"mine"}
    assert holds(folder, new) == [True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", "{"),
        ("model.safetensors", "weights of something"),
        ("vocabulary.json", "{}"),
        ("modalities/depth/model.safetensors", "a tokenizer"),
    ],
)
def test_what_is_of_no_checkpoint_is_not_replaced(new, tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(CheckpointError, match=rf"holds {name}, which is not of a model of ours.*choose another folder"):
        new.save_pretrained(tmp_path)
    assert whole_tree(tmp_path) == [name] and path.read_text() == content


def test_names_in_a_config_lead_nowhere_else(new, tmp_path):
    """The config of an older checkpoint says what may be removed, and may be anybody's."""
    folder = new.save_pretrained(tmp_path / "model")
    for place in (tmp_path / "config.json", folder / "modalities" / "mine" / "config.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("mine")
    (folder / "modalities" / "linked").symlink_to(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["modalities"] |= {"../..": {}, "*": {}, str(tmp_path): {}, "linked": {}}
    (folder / "config.json").write_text(json.dumps(config))
    new.save_pretrained(folder)
    assert (tmp_path / "config.json").read_text() == "mine"
    assert (folder / "modalities" / "mine" / "config.json").read_text() == "mine"


def test_an_error_leaves_what_was_there(old, new, tmp_path):
    folder = old.save_pretrained(tmp_path / "there")
    before = whole_tree(folder)
    for target in (folder, tmp_path / "not" / "yet"):
        with pytest.raises(am.ConfigError, match="a size is"):
            new.save_pretrained(target, max_shard_size="big")
    assert whole_tree(folder) == before and holds(folder, old) == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_folder_in_the_place_of_a_file_is_found_before_anything_is_replaced(old, new, tmp_path):
    folder = old.save_pretrained(tmp_path)
    (folder / "modalities" / "normal" / "config.json").mkdir(parents=True)
    with pytest.raises(am.DataError, match=r"cannot write to .*config\.json is a folder"):
        new.save_pretrained(folder)
    assert holds(folder, old) == [True]


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Whether a child process that does `action` is killed at its change number `step` of the file system."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    count = 0

    def counted(change: Callable) -> Callable:
        def run(*args: object, **options: object) -> object:
            nonlocal count
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return change(*args, **options)

        return run

    for name in ("mkdir", "replace", "rename", "link", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    action()
    os._exit(0)


def kills(original: Path, folder: Path, action: Callable[[], object]) -> Iterator[bool]:
    """Run `action` killed at each of its steps on copies of a folder; whether each was killed."""
    step = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)
        killed = killed_at(step, action)
        yield killed
        if not killed:
            return
        step += 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_save_killed_anywhere_leaves_the_old_model_or_the_new_one(old, tmp_path):
    original = old.save_pretrained(tmp_path / "original")
    (original / "notes.txt").write_text("mine")
    new, folder, seen = model_of("depth", seed=1), tmp_path / "folder", []
    for killed in kills(original, folder, lambda: new.save_pretrained(folder)):
        seen.append(holds(folder, old, new))
        assert (folder / "notes.txt").read_text() == "mine"
        if killed and len(seen) % 5 == 0:  # the next save tidies up, even in turn for the older model
            old.save_pretrained(folder)
            assert whole_tree(folder) == whole_tree(original) and holds(folder, old) == [True]
    switch = seen.index([False, True])
    assert switch > 5 and all(each == [True, False] for each in seen[:switch])
    assert len(seen) - switch > 10, "killed while files take their places"
    assert all(each == [False, True] for each in seen[switch:])
    assert whole_tree(folder) == sorted([*whole_tree(new.save_pretrained(tmp_path / "fresh")), "notes.txt"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_tokenizer_is_saved_as_a_whole_too(old, new, tmp_path):
    save_tokenizer(old.modalities["depth"], tmp_path / "original")
    folder, states = tmp_path / "folder", [m.modalities["depth"].tokenizer.state_dict() for m in (old, new)]
    seen = []
    for _ in kills(tmp_path / "original", folder, lambda: save_tokenizer(new.modalities["depth"], folder)):
        found = load_tokenizer(folder).state_dict()
        seen.append([all(torch.equal(found[key], state[key]) for key in state) for state in states])
    assert all(sum(each) == 1 for each in seen) and seen[0] == [True, False] and seen[-1] == [False, True]


def test_where_there_are_no_links_files_are_copied(old, new, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(atomic.Path, "hardlink_to", refused)
    folder = old.save_pretrained(tmp_path)
    assert holds(new.save_pretrained(folder), new) == [True]
    assert not list(folder.glob(".*"))


def test_a_model_is_saved_over_the_files_it_is_read_from(old, tmp_path, monkeypatch):
    monkeypatch.chdir(old.save_pretrained(tmp_path / "here"))
    loaded = am.load(".", modalities=["depth"])
    loaded.save_pretrained(".")
    assert holds(Path(), loaded) == [True] and not Path("modalities/rgb").exists()
