"""Names that data states are never paths that lead out of a folder, and rows never name files or addresses."""

from __future__ import annotations

import io
import json
import tarfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal.data.check import check_dataset
from anymodal.data.config import DataConfig
from anymodal.data.crops import Crops
from anymodal.data.files.index import FileIndex, Wanted
from anymodal.data.files.names import decoded, leads_elsewhere
from anymodal.data.files.open import FILE_LAYOUTS, open_files
from anymodal.data.files.tar_index import table
from anymodal.data.files.values import open_values
from anymodal.data.files.webdataset import WebDatasetIndex
from anymodal.data.files.words import files_of_word, samples_of
from anymodal.data.jobs.label import label_dataset
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.sources.huggingface import RowSource
from anymodal.data.store.reader import TokenStore

UNSAFE = ["../../out.png", "/tmp/x.png", "a/../../b.png", "C:/x.png", "a\\..\\b.png", "..\\b.png"]


def png(color=(200, 10, 10), size=(8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def tar(path, members: dict[str, bytes]):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@given(st.text(max_size=20))
def test_plain_names_stay_within_their_folder(name):
    if not leads_elsewhere(name):
        assert "\\" not in name and "\0" not in name and ".." not in name.split("/") and not name.startswith("/")


@given(st.binary(max_size=12))
def test_every_name_of_a_tar_is_text_that_files_can_have(raw):
    assert decoded(raw).encode().decode() == decoded(raw)


@pytest.mark.parametrize("layout", ["folders", "tars"])
def test_names_that_are_not_utf8_are_the_same_text_wherever_they_lie(tmp_path, vocabulary, layout):
    folder, name = tmp_path / "data/caption", "caf\udce9"
    folder.mkdir(parents=True)
    files = {f"{name}.txt": b"a red cup", "bad\udcff.txt": b"\xff", "plain.txt": b"a blue cup"}
    if layout == "tars":
        tar(folder / "shard-00000.tar", files)
    else:
        for each, content in files.items():
            (folder / each).write_bytes(content)
    make = partial(am.ModalitySet, ["caption"], vocabulary)
    made = tokenize_dataset(tmp_path / "data", make, tmp_path / "out", crops=Crops(count=2), max_bad=0.5)
    assert made.samples == 3 and made.problems == 1
    assert sorted(TokenStore(tmp_path / "out").names) == ["caf%E9", "plain"]
    (problem,) = map(json.loads, (tmp_path / "out/problems.jsonl").read_text().splitlines())
    assert problem["sample"] == "bad%FF" and "not UTF-8" in problem["problem"]
    assert tokenize_dataset(tmp_path / "data", make, tmp_path / "out", crops=Crops(count=2), max_bad=0.5).jobs == 0
    assert not check_dataset(tmp_path / "out").problems


@pytest.mark.parametrize("size", [3, 6])
def test_bad_samples_of_the_same_name_in_several_tars_each_count(tmp_path, vocabulary, size):
    for k in range(2):
        tar(tmp_path / f"data/caption/{k}.tar", {"0.txt": b"\xff", "1.txt": b"\xff", "2.txt": b"a cup"})
    make = partial(am.ModalitySet, ["caption"], vocabulary)
    with pytest.raises(am.DataError, match="4 of 6 samples have problems"):
        tokenize_dataset(tmp_path / "data", make, tmp_path / "out", shard_size=size, max_bad=0.6)
    assert tokenize_dataset(tmp_path / "data", make, tmp_path / "out", shard_size=size, max_bad=0.7).problems == 4
    told = [json.loads(line) for line in (tmp_path / "out/problems.jsonl").read_text().splitlines()]
    assert len({(each["shard"], each["sample"]) for each in told}) == 4
    assert all(" in 1 of " in each["sample"] for each in told[2:]) == (size == 6)


def test_files_on_the_command_line_are_named_like_those_of_datasets(tmp_path):
    (tmp_path / "caf\udce9.png").write_bytes(png())
    assert list(samples_of([files_of_word(str(tmp_path / "caf\udce9.png"), (".png",))])) == ["caf%E9"]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("layout", ["tars", "webdataset"])
def test_tars_with_names_that_lead_elsewhere(tmp_path, name, layout):
    place = tmp_path / ("data/rgb/shard-00000.tar" if layout == "tars" else "data/shard-00000.tar")
    name = name if layout == "tars" else name.replace(".png", ".rgb.png")
    tar(place, {name: png(), "ok.png" if layout == "tars" else "ok.rgb.png": png()})
    rgb = am.registry().modality("rgb")()
    source = open_values(tmp_path / "data", [rgb])
    assert list(source.names) == ["ok"]
    (problem,) = source.files.problems
    assert problem.kind == "unsafe name" and problem.count == 1 and "lead out of a folder" in problem.examples[0]


@pytest.mark.parametrize("layout", ["tars", "folder"])
def test_labels_are_written_within_their_folder(tmp_path, layout):
    tar(tmp_path / "data/rgb/shard-00000.tar", {**{name: png() for name in UNSAFE}, "ok.png": png()})
    label_dataset(tmp_path / "data", {"color_palette": None}, tmp_path / "a/out", layout=layout)
    assert not [path for path in tmp_path.iterdir() if path.name not in ("data", "a", "cache")]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_a_name_with_a_backslash_in_a_folder_is_said(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb/..\\x.png").write_bytes(png())
    (tmp_path / "rgb/a\\b.png").write_bytes(png())
    (tmp_path / "rgb/ok.png").write_bytes(png())
    files = open_files(str(tmp_path), {"rgb": Wanted(("rgb",), (".png",))})
    assert [files.key(k) for k in range(len(files))] == ["ok"]
    assert next(iter(files.problems)).kind == "unsafe name"


def test_names_of_other_layouts_are_refused_where_files_are_written(tmp_path, monkeypatch):
    def key(self: FileIndex, index: int) -> str:
        return "../../x"

    monkeypatch.setattr(WebDatasetIndex, "key", key)
    assert "webdataset" in FILE_LAYOUTS
    tar(tmp_path / "data/shard-00000.tar", {"ok.rgb.png": png()})
    with pytest.raises(am.DataError, match="could lead out of a folder"):
        label_dataset(tmp_path / "data", {"color_palette": None}, tmp_path / "out", layout="folder")


def test_links_in_tars_have_the_content_they_lead_to_and_others_are_said(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("dogs/a.png")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
        for name, kind, target in [
            ("b.png", tarfile.LNKTYPE, "dogs/a.png"),
            ("dogs/c.png", tarfile.SYMTYPE, "a.png"),
            ("d.png", tarfile.SYMTYPE, "dogs/c.png"),
            ("out.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("up.png", tarfile.SYMTYPE, "../../etc/passwd"),
            ("round.png", tarfile.SYMTYPE, "round.png"),
            ("pipe.png", tarfile.FIFOTYPE, ""),
        ]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    for _ in range(2):  # as scanned, and from the cache
        found = table(str(path))
        assert found.names.tolist() == [b"dogs/a.png", b"b.png", b"dogs/c.png", b"d.png"]
        assert len(set(found.offsets)) == 1 and found.sizes.tolist() == [3] * 4
        assert found.passed_over.tolist() == [b"out.png", b"up.png", b"round.png", b"pipe.png"] and not found.damage


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars_are_named_as_such(tmp_path, mode):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "data/rgb").mkdir(parents=True)
    with tarfile.open(tmp_path / "data/rgb/shard-00000.tar", mode) as archive:
        archive.add(tmp_path / "a.png", "a.png")
    rgb = am.registry().modality("rgb")()
    with pytest.raises(am.DataError, match="compressed by"):
        open_values(tmp_path / "data", [rgb])
    with pytest.raises(am.DataError, match="compressed by"):
        label_dataset(tmp_path / "data", {"color_palette": None}, tmp_path / "out")


class TestRows:
    @pytest.fixture
    def made(self, tmp_path, vocabulary):
        datasets, pyarrow = pytest.importorskip("datasets"), pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        secret = tmp_path / "secret.png"
        secret.write_bytes(png())

        def write(column: list):
            features = datasets.Features({"rgb": datasets.Image()})
            about = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
            path, types = tmp_path / "rows.parquet", features.arrow_schema
            rows = pyarrow.table({"rgb": pyarrow.array(column, types.field("rgb").type)})
            parquet.write_table(rows.replace_schema_metadata(about), path)
            read = datasets.load_dataset("parquet", data_files=str(path), split="train")
            assert read.features["rgb"] == datasets.Image()
            modalities = am.ModalitySet(["rgb"], vocabulary)
            return RowSource(DataConfig(path=str(path)), {m.name: m for m in modalities}, modalities.layout)

        return write, secret

    def test_a_row_that_names_a_file_or_an_address_is_refused(self, made):
        write, secret = made
        named = [{"path": str(secret), "bytes": None}, {"path": "http://127.0.0.1:9/x.png", "bytes": None}]
        source = write([*named, {"path": "/nowhere.png", "bytes": png()}])
        for row in (0, 1):
            with pytest.raises(am.ValueProblem, match="never names a file"):
                source.values(row)
        assert source.values(2)["rgb"].shape == (8, 8, 3)

    def test_bytes_are_decoded_as_files_are(self, made):
        write, _ = made
        turned = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (20, 10)).save(turned, "JPEG", exif=exif)
        eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"
        rows = [{"path": None, "bytes": each} for each in (turned.getvalue(), png()[:45], eps)]
        source = write(rows)
        assert source.values(0)["rgb"].shape == (20, 10, 3)
        for row, words in ((1, "damaged or cut short"), (2, "not a picture")):
            with pytest.raises(am.ValueProblem, match=words) as error:
                source.values(row)
            assert f"row {row} of" in str(error.value)


@pytest.mark.parametrize(
    ("name", "column", "wanted"),
    [
        ("metadata_image", {"brightness": 12.0, "contrast": None}, {"brightness": 12.0}),
        ("color_palette", {"1": [[1, 2, 3]], "2": None}, {1: [[1, 2, 3]]}),
    ],
)
def test_null_is_absent(tmp_path, vocabulary, name, column, wanted):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    kinds = {"2": [[4, 5, 6], [7, 8, 9]]} if name == "color_palette" else {"contrast": 3.0}
    parquet.write_table(pyarrow.table({name: [column, {**column, **kinds}]}), tmp_path / "rows.parquet")
    modalities = am.ModalitySet([name], vocabulary)
    config = DataConfig(path=str(tmp_path / "rows.parquet"))
    source = RowSource(config, {m.name: m for m in modalities}, modalities.layout)
    value = source.values(0)[name]
    assert {key: np.asarray(each).tolist() for key, each in value.items()} == wanted
    assert len(source.values(1)[name]) == 2
