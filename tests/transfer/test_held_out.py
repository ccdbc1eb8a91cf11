"""Held-out data of a transfer: what cannot be used is left out, and nothing is taken for the training data."""

import json
import resource
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import anymodal as am
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.model import ModelConfig
from anymodal.nn.distributed import World
from anymodal.testing.tiny import equip, shrunk
from anymodal.transfer import TransferConfig
from anymodal.transfer.tuning.classification import ClassName, ClassSolver
from anymodal.transfer.tuning.run import HeldOutLoss
from anymodal.transfer.tuning.samples import TokenReader, open_source
from anymodal.transfer.tuning.thinking import _read

SIZE = 32


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small model of random weights that reads pictures."""
    root = tmp_path_factory.mktemp("held-out")
    torch.manual_seed(0)
    members = [equip(shrunk(am.registry().modality(name)()), seed) for seed, name in enumerate(("rgb", "depth"))]
    config = ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    am.AnyModel(am.ModalitySet(members), config).save_pretrained(root)
    return root


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), np.uint8))


def aligned(root: Path, labels: list[str], first: int = 0) -> Path:
    """Pictures of noise with the names of their classes."""
    for name in ("rgb", "label"):
        (root / name).mkdir(parents=True)
    for number, label in enumerate(labels, first):
        picture(number).save(root / "rgb" / f"{number}.png")
        (root / "label" / f"{number}.txt").write_text(label)
    return root


def run(model: Path, data: Path, held: Path, out: Path, count: int | None = None, **changed):
    training = {"steps": 1, "batch_size": 2, "lr": 1e-3, "schedule": "constant", "precision": "float32"}
    raw = {
        "model": str(model), "inputs": ["rgb"], "task": {"name": "classification"}, "data": str(data),
        "held_out": {"path": str(held), "every": 1, "count": count}, "training": training, "tune": "frozen", **changed,
    }  # fmt: skip
    return am.train_transfer(structure(raw, TransferConfig, "here"), out)


def test_samples_that_cannot_be_used_are_left_out_and_told_of_once(model, tmp_path, caplog):
    data, held = aligned(tmp_path / "data", ["a", "b"]), aligned(tmp_path / "held", ["a", "b", "strange"])
    damaged = held / "rgb" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    training = {"steps": 2, "batch_size": 2, "lr": 1e-3, "schedule": "constant", "precision": "float32"}
    run(model, data, held, tmp_path / "out", training=training)
    assert caplog.text.count("left out: 1 held-out samples that cannot be read, such as") == 1
    assert "0.png" in caplog.text
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] in (0.0, 0.5)  # strange is wrong


def test_data_without_a_known_truth_are_refused_before_anything_is_trained(model, tmp_path):
    data, held = aligned(tmp_path / "data", ["a", "b"]), aligned(tmp_path / "held", ["strange"])
    with pytest.raises(DataError, match="no held-out sample"):
        run(model, data, held, tmp_path / "out")
    assert not (tmp_path / "out" / "log.jsonl").exists()


@pytest.mark.parametrize("count", [0, -2])
def test_counts_are_of_samples(model, tmp_path, count):
    with pytest.raises(ConfigError, match="at least 1"):
        run(model, tmp_path, tmp_path, tmp_path, count)


def test_a_process_without_samples_adds_zeros_to_the_same_metrics(model, tmp_path):
    modalities = am.load(model, modalities=["rgb"]).modalities
    source = open_source(str(aligned(tmp_path / "held", ["a"])), [modalities["rgb"]], ClassName(), None)
    reader, solver, sent = TokenReader(source, modalities, {}), ClassSolver(["a", "b"]), []
    engine = SimpleNamespace(device="cpu", autocast=nullcontext, model=lambda inputs: torch.zeros(1, 2))

    class Recorded(World):
        def sum(self, tensor):
            sent.append(tensor)
            return tensor

    for rank in (0, 1):
        HeldOutLoss(reader, solver, (0, 0), 4, Recorded(rank, 2, torch.device("cpu")))(engine)
    assert sent[0].tolist() == pytest.approx([1, 1, np.log(2)]) and sent[1].tolist() == [0, 0, 0]


def test_thoughts_are_of_the_samples_they_were_thought_of(model, tmp_path):
    for number, part in enumerate(("train", "train", "val", "val")):
        folder = tmp_path / "classes" / part / "ab"[number % 2]
        folder.mkdir(parents=True)
        picture(number).save(folder / "x.png")
    think = {"modality": "depth", "options": {"steps": 1, "temperature": 0.0}}
    run(model, tmp_path / "classes", tmp_path / "classes", tmp_path / "out", think=think, flip=0.0)
    kept = list((tmp_path / "out" / "thoughts").iterdir())
    assert len(kept) == 2
    one, other = (next(iter(_read(path).values())) for path in kept)
    assert (one != other).any()
    picture(9).save(tmp_path / "classes" / "train" / "a" / "x.png")
    run(model, tmp_path / "classes", tmp_path / "classes", tmp_path / "out2", think=think, flip=0.0)
    names = [{path.name for path in (tmp_path / out / "thoughts").iterdir()} for out in ("out", "out2")]
    assert len(names[0] & names[1]) == 1  # those of the training data are others now
    exchanged = am.load(model)
    with torch.no_grad():
        next(exchanged.modalities["depth"].tokenizer.decoder.parameters()).add_(1e-3)
    exchanged.save_pretrained(tmp_path / "exchanged")
    shutil.copytree(tmp_path / "out2" / "thoughts", tmp_path / "out3" / "thoughts")
    run(tmp_path / "exchanged", tmp_path / "classes", tmp_path / "classes", tmp_path / "out3", think=think, flip=0.0)
    assert len({path.name for path in (tmp_path / "out3" / "thoughts").iterdir()} - names[1]) == 2  # and all here


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tune": {"name": "lora", "targets": []}}, "names layers, of fc1"),
        ({"task": {"name": "dense", "to": "caption"}}, "'caption' is no grid"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_sentence(model, tmp_path, changed, said):
    if "tune" in changed:
        pytest.importorskip("peft")
    data = aligned(tmp_path / "data", ["a", "b"])
    (data / "label").rename(data / "caption") if "task" in changed else None
    with pytest.raises(ConfigError, match=said):
        run(model, data, data, tmp_path / "out", **changed)


def test_a_head_that_its_settings_make_large_takes_no_room_before_its_weights_are_looked_at(model, tmp_path):
    data = aligned(tmp_path / "data", ["a", "b"])
    run(model, depths(data), data, tmp_path / "out", task={"name": "dense", "to": "depth"})
    path = tmp_path / "out" / "head" / "config.json"
    facts = json.loads(path.read_text())
    for change, said in (({"width": 4096, "blocks": 64}, "has shape|has no tensor"), ({}, "its grid of depth")):
        facts["config"]["head"] |= change
        facts["facts"] |= {} if change else {"size": [10**9, 10**9]}
        path.write_text(json.dumps(facts))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CheckpointError, match=said):
            am.load_transfer(tmp_path / "out")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB; the head would take 34 GB


def depths(root: Path) -> Path:
    (root / "depth").mkdir()
    for path in (root / "rgb").iterdir():
        np.save(root / "depth" / f"{path.stem}.npy", np.full((SIZE, SIZE), 2.0, np.float32))
    return root
