"""Files of scenes: what they hold, and how a folder of them grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anymodal_scenes import BASIC, FAR, render, write
from anymodal_scenes.coco import CLASSES
from anymodal_scenes.scene import VERSION
from PIL import Image

from anymodal.errors import DataError
from anymodal.files import only_writer


def test_files_hold_the_scene(tmp_path: Path) -> None:
    write(tmp_path, 4, seed=11, size=32, workers=1, start=2)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "boxes3d", "camera", "caption", "depth", "det", "human_poses", "instance", "normal", "rgb", "scene", "semseg",
    ]  # fmt: skip
    for index in range(2, 6):
        scene, name = render(11, index, 32), f"{index:08d}"
        pictures = {f: np.asarray(Image.open(tmp_path / f / f"{name}.png")) for f in ("rgb", "semseg", "instance")}
        for folder, picture in pictures.items():
            assert np.array_equal(picture, getattr(scene, folder))
        depth = np.asarray(Image.open(tmp_path / "depth" / f"{name}.png")) / 65535 * FAR
        assert np.allclose(depth, scene.depth, atol=FAR / 65535)
        normal = np.asarray(Image.open(tmp_path / "normal" / f"{name}.png")) / 127.5 - 1
        assert np.allclose(normal, scene.normal, atol=1 / 127)
        assert (tmp_path / "caption" / f"{name}.txt").read_text() == scene.caption
        detections = json.loads((tmp_path / "det" / f"{name}.json").read_text())["instances"]
        things = [thing for thing in scene.objects if thing.class_id < 80 and thing.area > 0]
        assert [(d["class_name"], d["boxes"]) for d in detections] == [
            (CLASSES[t.class_id], list(t.box)) for t in things
        ]
        people = json.loads((tmp_path / "human_poses" / f"{name}.json").read_text())
        bodies = [thing.pose for thing in scene.objects if thing.pose and thing.area > 0]
        assert len(people["pred_cam"] if people else []) == len(bodies)
        if bodies:
            assert np.array(people["pred_smpl_params"]["global_orient"]).shape == (len(bodies), 1, 3, 3)
            assert np.array(people["pred_smpl_params"]["body_pose"]).shape == (len(bodies), 23, 3, 3)
        record = json.loads((tmp_path / "scene" / f"{name}.json").read_text())
        assert (record["seed"], record["index"], record["version"]) == (11, index, VERSION)
        assert len(record["objects"]) == len(scene.objects)


def test_writing_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write(tmp_path, 3, seed=1, size=16, workers=1)
    kept, lost = tmp_path / "rgb" / "00000001.png", tmp_path / "scene" / "00000002.json"
    kept.write_bytes(b"finished long ago")
    lost.unlink()
    done: list[int] = []
    write(tmp_path, 3, seed=1, size=16, workers=1, progress=done.append)
    assert kept.read_bytes() == b"finished long ago"
    assert lost.exists()
    assert sum(done) == 3
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.parametrize("other", [{"seed": 2}, {"size": 32}, {"kinds": BASIC}])
def test_other_scenes_are_not_put_among_those_of_a_folder(tmp_path: Path, other: dict[str, Any]) -> None:
    write(tmp_path, 2, seed=1, size=16, workers=1)
    (tmp_path / "rgb" / ".anymodal-00000007-x1y2.png").write_bytes(b"left by a killed run")
    with pytest.raises(DataError, match=f"holds scenes of {next(iter(other))}.*choose another folder"):
        write(tmp_path, 2, **{"seed": 1, "size": 16, "workers": 1, **other})
    write(tmp_path, 3, seed=1, size=16, workers=1)
    assert not list(tmp_path.glob("*/.*"))
    with only_writer(tmp_path), pytest.raises(DataError, match="another run is writing"):
        write(tmp_path, 3, seed=1, size=16, workers=1)


@pytest.mark.parametrize("other", ["rgb/mine.png", "00000.tar", "thermal/0.png"])
def test_scenes_are_not_put_among_other_data(tmp_path: Path, other: str) -> None:
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).touch()
    with pytest.raises(DataError, match=f"holds other things .{other.split('/')[0]}.; choose another folder for --out"):
        write(tmp_path, 1, seed=1, size=16, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [other.split("/")[0]]
    write(tmp_path / "scenes", 1, seed=1, size=16, workers=1)
    (tmp_path / "scenes" / other).parent.mkdir(exist_ok=True)
    (tmp_path / "scenes" / other).touch()  # what is made of scenes may lie beside them
    write(tmp_path / "scenes", 2, seed=1, size=16, workers=1)


def test_many_workers_write_the_same_files(tmp_path: Path) -> None:
    write(tmp_path / "one", 40, seed=2, size=16, workers=1)
    write(tmp_path / "two", 40, seed=2, size=16, workers=2)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*"))
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
