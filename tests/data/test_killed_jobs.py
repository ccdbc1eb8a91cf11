"""Jobs killed at the very end: the next run of the same command finishes them and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from datasets_made import contents, write_pictures

from anymodal.data.jobs import manifest as module
from anymodal.data.jobs.label import label_dataset, open_pictures
from anymodal.errors import DataError


def label(data: Path, out: Path) -> None:
    open_pictures.cache_clear()
    label_dataset(str(data / "rgb"), {"color_palette": None}, out, shard_size=2, workers=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "data", 4, modalities=("rgb",))


def test_between_the_manifest_and_the_removal_of_records(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
        label(data, tmp_path / "out")
    assert (tmp_path / "out/.jobs/plan.json").exists()
    label(data, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob(".*"))


def test_between_the_last_shard_and_the_manifest(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    label(data, out)
    shutil.copyfile(data / "rgb/0001.png", data / "rgb/0000.png")
    write_json = module.write_json

    def killed(value: object, path: Path) -> None:
        if path.name == module.MANIFEST:
            raise KeyboardInterrupt
        write_json(value, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_json", killed)
        label(data, out)
    label(data, out)
    label(data, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole"), "the manifest tells of the files before"
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("depth", [80, 950, 100_000])
@pytest.mark.parametrize(
    "name", ["manifest.json", ".jobs/plan.json", ".jobs/color_palette-00000.json", "problems.jsonl"]
)
def test_books_that_are_nested_too_deeply(name: str, depth: int, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    label(data, out)
    known = json.loads((out / "manifest.json").read_text())
    nested = json.dumps({**known, "settings": 0}).replace('"settings": 0', f'"settings": {"[" * depth}{"]" * depth}')
    (out / ".jobs").mkdir()
    (out / name).write_text(nested)
    if name in ("manifest.json", ".jobs/plan.json"):
        with pytest.raises(DataError, match=rf"{out / name} is (nested too deeply|damaged)"):
            label(data, out)
    else:
        label(data, out)
        assert json.loads((out / "manifest.json").read_text()) == known
