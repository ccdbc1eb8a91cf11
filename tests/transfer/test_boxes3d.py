"""Boxes in space as a task: what should be said is read back, and where they are seen."""

import json

import attrs
import numpy as np
import pytest
import torch

import anymodal as am
from anymodal.crops import Crop
from anymodal.transfer.tuning.boxes3d import SolidBoxes, SolidSolver


def test_what_should_be_said_is_read_back(world):
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


def test_boxes_are_where_the_picture_shows_them(world):
    """The middle of each box is seen within its box of the picture, at about the depth of its pixels."""
    reader = SolidBoxes()
    for path in sorted((world / "scenes" / "boxes3d").glob("*.json")):
        scene = reader.read(path)
        flat = json.loads((world / "scenes" / "det" / path.name).read_text())["instances"]
        for solid, box in zip(scene.solids, flat, strict=True):
            assert solid.class_name == box["class_name"]
            corners = np.array([scene.seen(attrs.evolve(solid, center=corner)) for corner in solid.corners])
            x0, y0, x1, y1 = box["boxes"]
            assert (corners.min(0) <= (x0 + 0.05, y0 + 0.05)).all() and (corners.max(0) >= (x1 - 0.05, y1 - 0.05)).all()


def test_a_mirrored_scene_mirrors_back(world):
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
def test_files_that_are_none_are_refused(changed):
    good = {"class_name": "car", "center": [0, 0, 2], "size": [1, 1, 1], "rotation": np.eye(3).tolist()}
    SolidBoxes().accept({"focal": 1.2, "boxes": [good]})
    with pytest.raises(am.ValueProblem):
        SolidBoxes().accept({"focal": 1.2, "boxes": [good]} | changed)
    with pytest.raises(am.ValueProblem):
        SolidBoxes().accept({"focal": 1.2, "boxes": [good | {"rotation": np.zeros((3, 3)).tolist()}]})
