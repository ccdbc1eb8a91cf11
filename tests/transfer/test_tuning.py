"""Fine-tuning for tasks: what is learned, what is left behind, and that it goes on where it stopped."""

import json
import time
from typing import ClassVar

import attrs
import numpy as np
import pytest
import yaml
from forked import Forked
from processor_time import patience
from small_transfers import TASKS_BY_NAME, config, losses, picture, run

import anymodal as am
from anymodal.errors import ConfigError
from anymodal.training.stored import newest_checkpoint
from anymodal.transfer import TASKS
from anymodal.transfer.tuning.classification import ClassSolver


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
