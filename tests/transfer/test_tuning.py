"""Fine-tuning for tasks: what is learned, what is left behind, and that it goes on where it stopped."""

import json
import shutil
import time
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
import torch
import yaml
from anymodal_scenes import write
from forked import Forked
from processor_time import patience
from safetensors.torch import load_file, save
from small_runs import command

import anymodal as am
from anymodal.checkpoints.atomic import whole_folder
from anymodal.config import structure
from anymodal.crops import Crop
from anymodal.errors import CheckpointError, ConfigError, DataError
from anymodal.model import ModelConfig
from anymodal.testing.tiny import equip, shrunk
from anymodal.training.log import read_log
from anymodal.training.stored import newest_checkpoint
from anymodal.transfer import TASKS, TransferConfig
from anymodal.transfer.tuning.boxes3d import SolidBoxes, SolidSolver
from anymodal.transfer.tuning.classification import ClassSolver
from anymodal.transfer.tuning.samples import chosen

SIZE = 32
TASKS_BY_NAME = {
    "classes": {"name": "classification"},
    "semseg": {"name": "dense", "to": "semseg"},
    "normal": {"name": "dense", "to": "normal", "settings": {"size": SIZE}},
    "boxes": {"name": "boxes"},
    "boxes3d": {"name": "boxes3d"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Scenes with a class each, and a small model of random weights that reads them."""
    root = tmp_path_factory.mktemp("transfer")
    for part, first, count in (("scenes", 0, 12), ("held", 12, 3)):
        write(root / part, count, seed=5, size=SIZE, workers=1, start=first)
        (root / part / "label").mkdir()
        for path in sorted((root / part / "scene").glob("*.json")):
            place = json.loads(path.read_text())["setting"]["place"]
            (root / part / "label" / f"{path.stem}.txt").write_text(f"{place}\n")
    torch.manual_seed(0)
    members = [
        equip(shrunk(am.registry().modality(name)()), seed) for seed, name in enumerate(("rgb", "depth", "semseg"))
    ]
    config = ModelConfig(dim=32, encoder_depth=2, decoder_depth=1, heads=2)
    am.AnyModel(am.ModalitySet(members), config).save_pretrained(root / "model")
    return root


def config(world: Path, named: str, **changed) -> dict:
    training = {"steps": 4, "batch_size": 4, "lr": 1e-2, "schedule": "constant", "precision": "float32", "log_every": 1}
    return {
        "model": str(world / "model"),
        "inputs": ["rgb"],
        "task": TASKS_BY_NAME[named],
        "data": str(world / "scenes"),
        "held_out": {"path": str(world / "held"), "every": 4},
        "training": training | changed.pop("training", {}),
        **changed,
    }


def run(world: Path, out: Path, named: str, resume: bool = False, **changed):
    return am.train_transfer(structure(config(world, named, **changed), TransferConfig, "here"), out, resume=resume)


def losses(out: Path) -> list[float]:
    return [record["loss"] for record in read_log(out / "log.jsonl")]


def picture(world: Path, number: int = 12) -> dict:
    return {"rgb": world / "held" / "rgb" / f"{number:08d}.png"}


def same(one, other) -> bool:
    """Whether two values are the same but for rounding, which depends on the size of a batch."""
    if isinstance(one, np.ndarray):
        return bool(np.allclose(one, other, atol=1e-4))
    if isinstance(one, am.transfer.SolidScene):
        return len(one.solids) == len(other.solids) and all(
            np.allclose(a.center, b.center, rtol=1e-3) for a, b in zip(one.solids, other.solids, strict=True)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(
            np.allclose(a.corners, b.corners, atol=1e-4) for a, b in zip(one, other, strict=True)
        )
    return bool(one == other)


class TestTasks:
    @pytest.mark.parametrize("task", TASKS_BY_NAME)
    def test_each_is_learned_and_its_result_says_the_same_when_it_is_loaded(self, world, tmp_path, task):
        made = run(world, tmp_path, task, inputs=["rgb", "depth"], training={"steps": 8})
        found = losses(tmp_path)
        assert found[-1] < found[0]
        scores = json.loads((tmp_path / "metrics.json").read_text())
        assert scores and all(np.isfinite(value) for value in scores.values())
        again = am.load_transfer(tmp_path)
        values = again.predict([picture(world), picture(world, 13)])
        assert all(same(a, b) for a, b in zip(values, made.predict([picture(world), picture(world, 13)]), strict=True))
        assert same(again.predict(picture(world)), values[0])

    def test_classes_come_from_folders_too(self, world, tmp_path):
        for k, label in enumerate(["cat", "dog"] * 3):
            folder = tmp_path / "pets" / ("train" if k < 4 else "val") / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{k}.png").write_bytes((world / "scenes" / "rgb" / f"{k:08d}.png").read_bytes())
        pets = str(tmp_path / "pets")
        made = run(world, tmp_path / "out", "classes", data=pets, held_out=pets)
        assert made.predict(picture(world)) in ("cat", "dog")
        assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] in (0.0, 0.5, 1.0)
        with pytest.raises(ConfigError, match="name one input alone"):
            run(world, tmp_path / "two", "classes", data=pets, inputs=["rgb", "depth"])

    def test_another_one_is_an_entry_of_the_table(self, world, tmp_path):
        @TASKS.add
        @attrs.frozen
        class Bright(am.transfer.Task):
            """Whether a depth map is farther than a number."""

            name: str = attrs.field(init=False, default="far")
            least: float = 5.0
            modalities = ("depth",)
            description: ClassVar[str] = "far or near"

            def truth(self, modalities):
                return modalities["depth"]

            def learn(self, truth, values):
                return FarSolver(self.least)

            def restore(self, truth, facts):
                return FarSolver(self.least)

        class FarSolver(ClassSolver):
            def __init__(self, least):
                super().__init__(["far", "near"])
                self.least = least

            def targets(self, truth, shape):
                return super().targets("far" if np.mean(truth) > self.least else "near", shape)

            def score(self, predictions, truths):
                return {"share": float(np.mean([p == "far" for p in predictions]))}

        try:
            made = run(world, tmp_path, "classes", task={"name": "far", "least": 3})
            assert made.predict(picture(world)) in ("far", "near") and made.config.task.least == 3
        finally:
            TASKS.remove("far")


class TestInputs:
    def test_any_of_them_may_be_missing_in_data_and_afterwards(self, world, tmp_path):
        data = tmp_path / "some"
        for name in ("rgb", "depth", "semseg"):
            (data / name).mkdir(parents=True)
            for k in range(8):
                if name == "semseg" or (name == "rgb") != (k % 2 == 0) or k > 5:
                    file = f"{name}/{k:08d}.png"
                    (data / file).write_bytes((world / "scenes" / file).read_bytes())
        made = run(world, tmp_path / "out", "semseg", data=str(data), inputs=["rgb", "depth"], drop=0.5)
        depth = {"depth": world / "held" / "depth" / "00000012.png"}
        said = [made.predict(given) for given in (picture(world), depth, picture(world) | depth)]
        assert {value.shape for value in said} == {(SIZE, SIZE)}

    def test_dropping_leaves_one_and_sometimes_all(self):
        tokens = {"a": {"a": np.arange(2)}, "b": {"b.x": np.arange(3), "b.y": np.arange(1)}}
        rng = np.random.default_rng(0)
        drawn = {tuple(chosen(tokens, 0.6, rng)) for _ in range(100)}
        assert drawn == {("a",), ("b.x", "b.y"), ("a", "b.x", "b.y")}
        assert set(chosen(tokens, 0.0, rng)) == {"a", "b.x", "b.y"}

    def test_thinking_first_reads_what_the_model_generates(self, world, tmp_path):
        think = {"modality": "depth", "options": {"steps": 1, "temperature": 0.0}}
        made = run(world, tmp_path, "classes", think=think)
        again = am.load_transfer(tmp_path)
        assert again.predict(picture(world)) == made.predict(picture(world))
        assert list((tmp_path / "thoughts").glob("*.safetensors")) and (tmp_path / "thinker").is_dir()
        read = made.network.grids
        assert [stream.modality for stream in read] == ["rgb", "depth"]
        with pytest.raises(am.UnknownModality, match="caption"):
            run(world, tmp_path / "no", "classes", think={"modality": "caption"})
        with torch.no_grad():
            next(again.thinker.modalities["depth"].tokenizer.decoder.parameters()).add_(1e-3)
        again.thinker.save_pretrained(tmp_path / "thinker")
        with pytest.raises(
            CheckpointError, match=r"belongs to another model than .*thinker: others are its depth\.dec"
        ):
            am.load_transfer(tmp_path)

    def test_a_result_from_before_tokenizers_were_known_is_that_of_its_model(self, world, tmp_path):
        run(world, tmp_path, "classes", inputs=["depth"])
        config = whole_folder(tmp_path / "head") / "config.json"
        facts = json.loads(config.read_text())
        assert list(facts["model"]["modalities"]) == ["depth.encoder"]
        config.write_text(json.dumps(facts | {"model": facts["model"]["transformer"]}))
        am.load_transfer(tmp_path)
        config.write_text(json.dumps(facts | {"model": facts["model"] | {"modalities": {"depth.encoder": "0" * 32}}}))
        with pytest.raises(CheckpointError, match=r"others are its depth\.encoder"):
            am.load_transfer(tmp_path)


class TestTuning:
    @pytest.mark.parametrize("tune", ["frozen", "full", "lora"])
    def test_the_encoder_changes_as_far_as_it_is_to(self, world, tmp_path, tune):
        pytest.importorskip("peft")
        before = am.load(world / "model", modalities=["rgb"]).transformer.state_dict()
        made = run(world, tmp_path, "classes", tune=tune)
        changed = {
            name for name, tensor in made.model.transformer.state_dict().items() if not tensor.equal(before[name])
        }
        blocks = {name for name in changed if name.startswith("encoder.")}
        assert bool(blocks) == (tune != "frozen")
        assert not any(name.startswith("decoder.") for name in changed)
        assert not changed - blocks if tune == "lora" else True
        assert am.load_transfer(tmp_path).predict(picture(world)) == made.predict(picture(world))

    def test_from_scratch_is_another_encoder(self, world, tmp_path):
        taken = run(world, tmp_path / "a", "classes", tune="frozen").model.transformer.encoder.state_dict()
        new = run(world, tmp_path / "b", "classes", scratch=True).model.transformer.encoder.state_dict()
        assert max(float((taken[name] - new[name]).abs().max()) for name in taken) > 0.05


class TestRuns:
    def test_a_resumed_run_is_the_uninterrupted_one(self, world, tmp_path):
        changed = {"inputs": ["rgb", "depth"], "drop": 0.3, "training": {"steps": 6, "save_every": 3, "ema": 0.9}}
        run(world, tmp_path / "whole", "boxes3d", **changed)
        changed["training"] = changed["training"] | {"steps": 3}
        run(world, tmp_path / "parts", "boxes3d", **changed)
        changed["training"] = changed["training"] | {"steps": 6}
        run(world, tmp_path / "parts", "boxes3d", resume=True, **changed)
        whole, parts = (am.load_transfer(tmp_path / name) for name in ("whole", "parts"))
        for one, other in ((whole.network, parts.network),):
            for name, tensor in one.state_dict().items():
                assert tensor.equal(other.state_dict()[name]), name
        with pytest.raises(ConfigError, match="drop"):
            run(world, tmp_path / "parts", "boxes3d", resume=True, **changed | {"drop": 0.1})

    @pytest.mark.slow
    def test_two_processes_are_one_and_a_killed_run_goes_on(self, world, tmp_path):
        training = {"steps": 8, "lr": 1e-3, "save_every": 1}
        content = config(world, "semseg", inputs=["rgb", "depth"], drop=0.3, training=training)
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))

        def started(out: str, processes: int = 1) -> Forked:
            words = ["transfer", str(tmp_path / "c.yaml"), "--resume", "--out", str(tmp_path / out)]
            return Forked(*words, processes=processes)

        def finished(process: Forked) -> None:
            written, _ = process.communicate(timeout=patience(240))
            assert process.returncode == 0, written

        finished(started("one"))
        finished(started("two", 2))
        killed, ends = started("killed"), time.monotonic() + patience(240)
        while newest_checkpoint(tmp_path / "killed" / "checkpoints") is None and time.monotonic() < ends:
            time.sleep(0.01)
        killed.kill()
        killed.communicate(timeout=patience(240))
        finished(started("killed"))
        one, two, again = (
            json.loads((tmp_path / out / "metrics.json").read_text()) for out in ("one", "two", "killed")
        )
        assert again == one
        np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)
        assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.02)


class TestMistakes:
    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"inputs": []}, "each once"),
            ({"inputs": ["rgb", "rgb"]}, "each once"),
            ({"task": {"name": "boxs"}}, "boxes"),
            ({"tune": "lora", "scratch": True}, "scratch"),
            ({"tune": {"name": "lora", "rank": 10**12}}, r"Lora\.rank must be from 1 to 4096, got 1e\+12"),
            ({"tune": {"name": "lora", "alpha": -1.0}}, r"Lora\.alpha must be above 0"),
            ({"think": {"modality": "rgb"}}, "an input already"),
            ({"think": {"modality": "depth", "options": {"stpes": 1}}}, "stpes"),
            ({"head": {"name": "convnext", "widht": 3}}, "widht"),
            ({"checkpoints": {"result": "best", "best": 1}, "held_out": None}, "add held_out"),
        ],
    )
    def test_of_the_configuration_are_told_before_anything_is_built(self, world, changed, message):
        raw = {**config(world, "classes"), **changed}
        with pytest.raises(ConfigError, match=message):
            structure(raw, TransferConfig, "here")

    def test_of_data_are_told(self, world, tmp_path):
        with pytest.raises(ConfigError, match="cannot be an input too"):
            run(world, tmp_path, "semseg", inputs=["rgb", "semseg"])
        with pytest.raises(DataError, match="boxes9"):
            run(world, tmp_path, "classes", task={"name": "boxes3d", "labels": "boxes9"})

    def test_of_predict_are_told(self, world, tmp_path):
        made = run(world, tmp_path, "classes", held_out=None)
        with pytest.raises(ConfigError, match="'depth' is no input"):
            made.predict({"depth": np.ones((SIZE, SIZE), np.float32)})
        with pytest.raises(ConfigError, match="one input at least"):
            made.predict({})
        for focal in (0, float("nan"), "long"):
            with pytest.raises(am.AnymodalError):
                made.predict(picture(world), focal=focal)
        assert made.predict([]) == []

    def test_a_damaged_result_is_refused(self, world, tmp_path):
        run(world, tmp_path, "classes")
        path = tmp_path / "head" / "config.json"
        facts = json.loads(path.read_text())
        other = {**facts["config"], "inputs": ["depth9"]}
        grid = {**facts["config"], "task": {"name": "dense", "to": "depth", "settings": {"sides": 3}}}
        for changed, message in (
            ({"model": "other"}, r"head belongs to another model than .*model: others are its transformer"),
            ({"model": None}, r"head.config.json does not say which model the head belongs to"),
            ({"facts": {}}, r"head.config.json: .* names no classes"),
            ({"config": None}, r"head.config.json: .* must be given"),
            ({"config": other}, r"head.config.json: modality 'depth9' is not in this set"),
            ({"config": grid}, r"head.config.json: .*no setting 'sides'"),
            ({"thinker": True}, r"head belongs to a model in .*thinker, which is no folder"),
        ):
            path.write_text(json.dumps(facts | changed))
            with pytest.raises(CheckpointError, match=message):
                am.load_transfer(tmp_path)
        path.write_text(json.dumps(facts)[:-9])
        with pytest.raises(CheckpointError, match=r"head.config.json is not JSON"):
            am.load_transfer(tmp_path)

    def test_damaged_weights_of_a_head_are_refused(self, world, tmp_path):
        run(world, tmp_path, "classes")
        path = tmp_path / "head" / "model.safetensors"
        whole, tensors = path.read_bytes(), load_file(path)
        name = next(iter(tensors))
        for changed, message in (
            (whole[:-7], "is not a whole safetensors file"),
            (b"", "is not a whole safetensors file"),
            (save({key: tensor for key, tensor in tensors.items() if key != name}), f"head has no tensor '{name}'"),
            (save(tensors | {name: torch.zeros(3, 5)}), rf"'{name}' in .*head has shape \(3, 5\)"),
            (save(tensors | {"extra": torch.zeros(2)}), "head has a tensor 'extra' that its config does not explain"),
        ):
            path.write_bytes(changed)
            with pytest.raises(CheckpointError, match=message):
                am.load_transfer(tmp_path)

    def test_a_folder_without_a_result_is_refused(self, world, tmp_path):
        run(world, tmp_path / "out", "classes")
        shutil.rmtree(tmp_path / "out" / "model")
        with pytest.raises(CheckpointError, match=r"head belongs to a model in .*model, which is no folder"):
            am.load_transfer(tmp_path / "out")
        shutil.rmtree(tmp_path / "out" / "head")
        (tmp_path / "out" / "head").write_text("a file")
        (tmp_path / "file").write_text("another one")
        for place in ("out", "file", "nowhere"):
            with pytest.raises(CheckpointError, match="no result"):
                am.load_transfer(tmp_path / place)
        with pytest.raises(CheckpointError, match="cannot be read: File name too long"):
            am.load_transfer("x" * 5000)

    def test_the_command_says_what_is_wrong(self, world, tmp_path, capsys):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(world, "classes")))
        assert command("train", tmp_path / "c.yaml", "--out", tmp_path / "out") == 2
        assert "anymodal transfer" in capsys.readouterr().err


class TestBoxesInSpace:
    def test_what_should_be_said_is_read_back(self, world):
        reader = SolidBoxes()
        scenes = [reader.read(path) for path in sorted((world / "scenes" / "boxes3d").glob("*.json"))]
        solver = am.transfer.TASKS("boxes3d").learn(reader, scenes)
        assert isinstance(solver, SolidSolver)
        for scene in scenes:
            targets = solver.targets(scene, (16, 16))
            said = torch.full((1, solver.channels, 16, 16), -9.0)
            said[0, : len(solver.names)][torch.from_numpy(targets["heat"]) > 0.999] = 9.0
            for cell, numbers in zip(targets["cell"], targets["numbers"], strict=True):
                if cell >= 0:
                    said[0, len(solver.names) :, cell // 16, cell % 16] = torch.from_numpy(numbers)
            said_at_its_focal = solver.values(said, scene.focal)
            cells = [int(cell) for cell in targets["cell"] if cell >= 0]
            if len(set(cells)) == len(cells):
                assert solver.score(said_at_its_focal, [scene]).get("ap3d", 1) == pytest.approx(1)
                assert solver.score(solver.values(said), [scene]).get("ap3d", 1) == pytest.approx(1)

    def test_they_are_where_the_picture_shows_them(self, world):
        """The middle of each box is seen within its box of the picture, at about the depth of its pixels."""
        reader = SolidBoxes()
        for path in sorted((world / "scenes" / "boxes3d").glob("*.json")):
            scene = reader.read(path)
            flat = json.loads((world / "scenes" / "det" / path.name).read_text())["instances"]
            for solid, box in zip(scene.solids, flat, strict=True):
                assert solid.class_name == box["class_name"]
                corners = np.array([scene.seen(attrs.evolve(solid, center=corner)) for corner in solid.corners])
                x0, y0, x1, y1 = box["boxes"]
                assert (corners.min(0) <= (x0 + 0.05, y0 + 0.05)).all() and (
                    corners.max(0) >= (x1 - 0.05, y1 - 0.05)
                ).all()

    def test_a_mirrored_scene_mirrors_back(self, world):
        reader = SolidBoxes()
        scene = reader.read(min((world / "scenes" / "boxes3d").glob("*.json")))
        once = reader.crop(scene, Crop(flip=True))
        for solid, mirrored in zip(scene.solids, once.solids, strict=True):
            u, v = scene.seen(solid)
            np.testing.assert_allclose(once.seen(mirrored), (1 - u, v), atol=1e-9)
            assert np.linalg.det(mirrored.rotation) == pytest.approx(1, abs=1e-3)
        twice = reader.crop(once, Crop(flip=True))
        np.testing.assert_allclose(twice.solids[0].rotation, scene.solids[0].rotation)

    @pytest.mark.parametrize(
        "changed",
        [
            {"focal": 0},
            {"focal": None},
            {"boxes": None},
            {"boxes": [{}]},
            {"boxes": [{"class_name": "a"}]},
            {"focal": 1e999},
        ],
    )
    def test_files_that_are_none_are_refused(self, changed):
        good = {"class_name": "car", "center": [0, 0, 2], "size": [1, 1, 1], "rotation": np.eye(3).tolist()}
        SolidBoxes().accept({"focal": 1.2, "boxes": [good]})
        with pytest.raises(am.ValueProblem):
            SolidBoxes().accept({"focal": 1.2, "boxes": [good]} | changed)
        with pytest.raises(am.ValueProblem):
            SolidBoxes().accept({"focal": 1.2, "boxes": [good | {"rotation": np.zeros((3, 3)).tolist()}]})
