"""Layouts of files and of datasets that others add."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
from datasets_made import made_of, write_pictures
from small_runs import GRID, STEPS, command, model_config

import anymodal as am
from anymodal.config.tables import SettingsTable
from anymodal.data.files.index import FileIndex, key_and_suffix
from anymodal.data.files.layout import FileLayout, Place
from anymodal.data.files.open import FILE_LAYOUTS, layout_of_files
from anymodal.data.files.values import open_values
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.sources.base import DataLayout, Source
from anymodal.data.sources.open import DATA_LAYOUTS, layout_of_dataset
from anymodal.data.store.reader import TokenStore
from anymodal.errors import DataError
from anymodal.plugins.registry import registry


@attrs.frozen
class Zip(FileLayout):
    """A zip of PART/NAME.ext."""

    name: str = attrs.field(init=False, default="zip")
    description: ClassVar[str] = "a zip with a folder for each modality"

    def recognizes(self, place: Place) -> bool:
        return place.path.endswith(".zip")

    def names(self, place: Place) -> set[str]:
        with zipfile.ZipFile(place.path) as archive:
            return {name.split("/")[0] for name in archive.namelist()}

    def open(self, place: Place, count: int | None) -> FileIndex:
        return ZipIndex(place, place.chosen(self.names(place)), count)


class ZipIndex(FileIndex):
    def __init__(self, place: Place, folders: dict[str, str], count: int | None) -> None:
        super().__init__(place.path, folders)
        with zipfile.ZipFile(self.root) as archive:
            names = archive.namelist()
        self.names = {
            part: {key_and_suffix(name.partition("/")[2])[0]: name for name in names if name.startswith(f"{folder}/")}
            for part, folder in folders.items()
        }
        self.keys = sorted(set().union(*self.names.values()))[:count]

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def holds(self, part: str, index: int) -> bool:
        return self.keys[index] in self.names.get(part, ())

    def place(self, part: str, index: int) -> str:
        return f"{self.root}: {self.names[part][self.keys[index]]}"

    def suffix(self, part: str, index: int) -> str:
        return Path(self.names[part][self.keys[index]]).suffix

    def read(self, part: str, index: int) -> bytes:
        with zipfile.ZipFile(self.root) as archive:
            return archive.read(self.names[part][self.keys[index]])


@attrs.frozen
class Colors(DataLayout):
    """So many captions about colors, made up: colors:COUNT."""

    name: str = attrs.field(init=False, default="colors")

    def recognizes(self, path: str) -> bool:
        return path.startswith("colors:")

    def open(self, config, modalities, layout) -> Source:
        return MadeUp(int(config.path.partition(":")[2]), modalities["caption"])


class MadeUp(Source):
    streams = frozenset(["caption"])

    def __init__(self, count: int, caption: am.Modality) -> None:
        self.count, self.caption = count, caption

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        return f"color {index}"

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if index == 3:
            raise ValueError("no such color")
        return {"caption": self.caption.tokenize([f"a car of color {index}"])["caption"][0]}


@pytest.fixture
def added():
    """Two layouts of this file in their tables."""
    pairs: list[tuple[SettingsTable, type]] = [(FILE_LAYOUTS, Zip), (DATA_LAYOUTS, Colors)]
    for table, cls in pairs:
        table.add(cls)
    yield
    FILE_LAYOUTS.remove("zip")
    DATA_LAYOUTS.remove("colors")


def zipped(path: Path, root: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(root))
    return path


def pixels_alone() -> am.ModalitySet:
    """A set that another process can make: pixels of pictures, and depth without a tokenizer is left out."""
    return am.ModalitySet([registry().modality("rgb")(size=32, patch=8)])


@pytest.mark.usefixtures("added")
def test_a_layout_of_files_that_is_added_is_tokenized_labeled_and_checked(tmp_path, capsys, small):
    folder = write_pictures(tmp_path / "folder", 6)
    path = zipped(tmp_path / "data.zip", folder)
    tokenize_dataset(path, lambda: small, tmp_path / "tokens", shard_size=2)
    tokenize_dataset(folder, lambda: small, tmp_path / "same", shard_size=2)
    assert made_of(tmp_path / "tokens") == made_of(tmp_path / "same")
    assert command("data", "check", path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "zip" and report["counts"] == {"rgb": 6, "depth": 6, "caption": 6}
    assert command("label", path, "--with", "canny_edge", "--out", tmp_path / "labeled") == 0
    assert len(open_values(tmp_path / "labeled", [registry().modality("canny_edge")()])) == 6


@pytest.mark.usefixtures("added")
def test_an_added_layout_travels_to_worker_processes(tmp_path):
    path = zipped(tmp_path / "data.zip", write_pictures(tmp_path / "folder", 4, modalities=("rgb",)))
    summary = tokenize_dataset(path, pixels_alone, tmp_path / "tokens", shard_size=2, workers=2)
    assert summary.jobs == 2 and TokenStore(tmp_path / "tokens").names == ["0000", "0001", "0002", "0003"]


@pytest.mark.usefixtures("added")
def test_models_train_on_layouts_that_are_added(tmp_path, vocabulary):
    vocabulary.save(tmp_path / "tokenizers/vocabulary.json")
    path = zipped(tmp_path / "data.zip", write_pictures(tmp_path / "folder", 6, modalities=("rgb", "caption")))
    model_config(
        tmp_path / "model.yaml",
        {"rgb": GRID, "caption": {"length": 24}},
        [
            {"inputs": {"rgb.pixels": 1}, "targets": {"caption": 1}},
            {"inputs": {"caption": 1}, "targets": {"caption": 1}},
        ],
        data=[str(path), {"path": "colors:9", "modalities": ["caption"]}],
        training={**STEPS, "batch_size": 6},
        workers=1,
    )
    assert command("train", tmp_path / "model.yaml", "--out", tmp_path / "run") == 0
    assert (tmp_path / "run/model/config.json").exists()


@pytest.mark.usefixtures("added")
def test_a_layout_of_datasets_that_is_added_is_checked(tmp_path, capsys, vocabulary):
    vocabulary.save(tmp_path / "tokenizers/vocabulary.json")
    config = model_config(
        tmp_path / "model.yaml", {"caption": {"length": 24}}, [{"inputs": {"caption": 1}, "targets": {"caption": 1}}]
    )
    assert layout_of_dataset("colors:9").name == "colors"
    assert command("data", "check", "colors:9", "--config", config, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "colors" and report["counts"] == {"caption": 8}
    assert report["tokens"]["caption"]["longest"] > 4
    assert report["problems"] == [
        {
            "part": "samples",
            "kind": "not usable",
            "count": 1,
            "examples": ["color 3: ValueError: no such color"],
        }
    ]
    assert command("data", "check", "colors:9") == 2
    assert "say which: --config MODEL.yaml" in capsys.readouterr().err


def test_an_installed_distribution_adds_a_layout(tmp_path, monkeypatch, caplog):
    site = tmp_path / "site"
    facts = site / "zips-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "zips.py").write_text(f"from {__name__} import Zip\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zips\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[anymodal.file_layouts]\nzip = zips:Zip\nbroken = nothing:Here\n")
    path = zipped(tmp_path / "data.zip", write_pictures(tmp_path / "folder", 2, modalities=("rgb",)))
    with pytest.raises(DataError, match=r"data.zip is a file and no tar; rows of tables are for `anymodal train`"):
        layout_of_files(str(path))
    monkeypatch.syspath_prepend(site)
    try:
        assert layout_of_files(str(path)).name == "zip"
        assert "the file layout 'broken' (nothing:Here) cannot be used" in caplog.text
    finally:
        FILE_LAYOUTS.remove("zip")
