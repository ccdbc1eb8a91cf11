"""What other libraries do that we took to be otherwise (findings/) does not reach our users."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from aligned_layouts import as_tars
from PIL import Image
from safetensors.numpy import load_file

import anymodal as am
from anymodal.crops import Crop
from anymodal.data.config import DataConfig
from anymodal.data.files.index import key_and_suffix
from anymodal.data.files.values import open_values
from anymodal.data.order import generator
from anymodal.data.sources.huggingface import RowSource, load_rows
from anymodal.data.store.arrays import write_arrays
from anymodal.errors import DataError, ValueProblem
from anymodal.evaluation.scores.classes import ClassOverlap
from anymodal.families import VectorModality
from anymodal.generation.retrieval import stacked_vectors
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokenizers.quantizers.cosine import CosineCodebook
from anymodal.tokens import Layout, Packer, collate
from anymodal.transfer.class_folders import read_class_folders

FOLDER = Path(__file__).parent.parent / "findings"
README = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.stem)
def test_scripts_are_short_pinned_and_listed(path):
    """They need a network, so they are not run here."""
    text = path.read_text()
    installed = re.search(r" install (.*)", text)
    assert installed and re.search(r"\w==\d", installed[1]) and len(text.splitlines()) < 60 and "# Seen:" in text
    assert "import anymodal" not in text and f"[{path.stem}]({path.name})" in README


def test_views_are_written_as_they_are(tmp_path, small_model):
    view = np.arange(12, dtype=np.int64).reshape(3, 4).T
    write_arrays({"a": view}, tmp_path / "a.safetensors")
    assert np.array_equal(load_file(tmp_path / "a.safetensors")["a"], view)
    outputs = small_model.generate({"rgb": np.zeros((32, 32, 3), np.uint8)}, "depth", seed=0)
    outputs.tokens["depth"] = np.arange(32, dtype=np.int64)[::2]
    outputs.save(tmp_path / "out")
    assert np.array_equal(load_file(tmp_path / "out/tokens.safetensors")["depth"], np.arange(32)[::2])


def test_mirrored_and_cropped_values_own_their_memory():
    for name in ("rgb", "depth", "semseg"):
        modality = am.registry().modality(name)(size=8, patch=4)
        value = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
        value = np.stack([value] * 3, -1) if name == "rgb" else value.astype(np.float32) if name == "depth" else value
        mirrored = modality.crop(value, Crop(0, 0, 1, 1, flip=True))
        assert mirrored.flags.c_contiguous and np.array_equal(mirrored, value[:, ::-1])
        assert modality.crop(value, Crop(0.25, 0.5, 0.5, 0.5)).flags.c_contiguous


def test_numbers_are_the_same_in_any_byte_order(tmp_path):
    rng, of = np.random.default_rng(0), am.registry().modality
    meters, ids = rng.uniform(1, 5, (8, 8)).astype(np.float32), rng.integers(0, 9, (8, 8)).astype(np.uint16)
    for name, value in (("depth", meters), ("semseg", ids)):
        modality, swapped = of(name)(size=8, patch=4), value.astype(value.dtype.newbyteorder(">"))
        np.save(tmp_path / "a.npy", swapped)
        for given in (swapped, tmp_path / "a.npy"):
            accepted = modality.accept(given)
            assert accepted.dtype.isnative and np.array_equal(accepted, modality.accept(value))
    heat = am.image("heat", channels=1, low=0, high=65535)()
    Image.fromarray((ids * 300).astype(">u2")).save(tmp_path / "a.tiff")
    with Image.open(tmp_path / "a.tiff") as opened:
        assert not np.asarray(opened).dtype.isnative
        for given in (tmp_path / "a.tiff", opened):
            assert np.allclose(np.squeeze(heat.accept(given)), ids * 300.0)


def test_maps_in_8_bits_have_a_class_wherever_it_is_not_255():
    truth, said = np.array([[0, 5, 255, 7]], np.uint8), np.array([[0, 5, 255, 255]], np.uint8)
    for of in (np.asarray, torch.from_numpy):
        overlap = ClassOverlap(20)
        overlap.update(of(said), of(truth))
        assert overlap.compute()["accuracy"] == pytest.approx(2 / 3)
    semseg = am.registry().modality("semseg")(size=8, patch=4)
    assert np.array_equal(semseg.accept(torch.from_numpy(truth)), truth)


def test_scores_of_pictures_in_8_bits_do_not_wrap_around():
    made, true = (np.full((4, 4, 3), number, np.uint8) for number in (200, 250))
    rgb = am.registry().modality("rgb")(size=8, patch=4)
    assert rgb.score([made], [true]) == rgb.score([true], [made])
    assert rgb.score([made], [true])["psnr"] == pytest.approx(20 * np.log10(255 / 50))


def test_latents_in_half_precision_have_an_id_and_vectors_a_length():
    quantizer = CosineCodebook(8, 4, from_data=False).eval()
    quantized = quantizer(torch.tensor([[[0.0] * 4, [40_000.0] * 4]]).half())
    assert torch.isfinite(quantized.codes).all() and torch.isfinite(quantized.loss)
    assert torch.equal(quantized.ids[0, 1], (quantizer.codes.sum(1)).argmax())
    vectors = stacked_vectors([np.zeros(4, np.float16), np.full(4, 4e4, np.float16)], VectorModality(), normalize=True)
    assert np.allclose(vectors, [[0] * 4, [0.5] * 4])


@pytest.mark.parametrize("side", [40, 900])
def test_maps_of_instances_come_back_from_their_outlines(side):
    sam, labels = am.registry().modality("sam_instance")(), np.zeros((side, side + 20), np.uint8)
    labels[3:6, 8:14], labels[10:30, 20:40], labels[12, 2:9] = 1, 2, 3
    found = sam.accept(sam.plain(sam.accept(labels)))
    masks = [each.pixels(side + 20, side) for each in found]  # the largest first
    assert all(np.array_equal(mask, labels == number) for mask, number in zip(masks, (2, 1, 3), strict=True))


def test_class_folders_that_are_numbers_keep_them(tmp_path):
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"of {number}.png").touch()
    found = read_class_folders(tmp_path, {".png"})
    assert {path.stem: label for path, label in zip(found.files, found.labels, strict=True)} == {
        f"of {number}": str(number) for number in range(12)
    }


def test_a_constant_of_sixteen_bits_stays_one(tmp_path):
    heat = am.image("heat", channels=1, low=0, high=65535)
    Image.fromarray(np.full((50, 70), 1000, np.uint16)).save(tmp_path / "a.png")
    modality = heat()
    assert np.allclose(modality.crop(modality.read(tmp_path / "a.png"), Crop(0.1, 0.1, 0.7, 0.7)), 1000, atol=0.01)


def test_palettes_of_gif_are_no_ids(tmp_path):
    zones = am.registry().modality("semseg")(size=8, patch=4)
    ids = np.repeat(np.array([[0, 5, 20, 7]], np.uint8), 4, 0)
    Image.fromarray(ids).save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as opened:
        for given in (tmp_path / "a.gif", opened):
            with pytest.raises(ValueProblem, match="counts its colors anew when it is saved; save the map as PNG"):
                zones.accept(given)
    Image.fromarray(ids).save(tmp_path / "b.gif", optimize=False)
    assert np.array_equal(zones.accept(tmp_path / "b.gif"), ids)


@pytest.mark.parametrize("name", ["WEBP", "AVIF"])
def test_maps_of_16_bits_that_a_file_of_8_has_cut_are_refused(name, tmp_path):
    depth, path = am.registry().modality("depth")(size=8, patch=4), tmp_path / f"a.{name.lower()}"
    Image.fromarray(np.full((8, 8), 1500, np.uint16)).save(path, name)
    with pytest.raises(ValueProblem, match=f"all of it is 255, as {name} files cut maps of 16 bits; save it as 16-bit"):
        depth.accept(path)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(path, name)
    assert depth.accept(path).shape == (8, 8)


@pytest.mark.parametrize("ending", [".png", ".npy"])
def test_numbers_that_a_picture_cannot_hold_are_refused_when_written(tmp_path, ending):
    of, path = am.registry().modality, tmp_path / f"a{ending}"
    wide = np.array([[0, 300, -1]])
    for name, value in (("semseg", wide), ("canny_edge", wide), ("rgb", np.stack([wide] * 3, -1))):
        with pytest.raises(ValueProblem):
            of(name)(size=8, patch=4).write(value, path)
        assert not path.exists()
    of("rgb")(size=8, patch=4).write(np.full((4, 5, 3), 0.5), path)
    assert (of("rgb")(size=8, patch=4).read(path) == 128).all()
    of("semseg")(size=8, patch=4).write(np.array([[0, 7, 255]]), path)
    assert of("semseg")(size=8, patch=4).read(path).tolist() == [[0, 7, 255]]


def test_class_maps_that_are_floats_are_to_be_rounded():
    zones = am.registry().modality("semseg")(size=8, patch=4)
    scaled = np.array([[0, 0.99999998, 2.00000004]])
    with pytest.raises(ValueProblem) as refused:
        zones.accept(scaled)
    told = str(refused.value).split("; pass value")[1]
    assert told == ".round().astype('uint8')" and scaled.round().astype("uint8").tolist() == [[0, 1, 2]]


def test_many_channels_are_written_as_an_array(tmp_path):
    planet = am.image("planet", channels=12, low=0, high=1)()
    value = np.random.default_rng(0).random((20, 30, 12), np.float32)
    assert planet.suffixes[0] == ".npy"
    planet.write(value, tmp_path / "a.npy")
    assert np.array_equal(planet.read(tmp_path / "a.npy"), value)


def test_hidden_names_are_no_samples():
    assert key_and_suffix("cats/.a.txt") == key_and_suffix("._a.png") == ("", "")
    assert key_and_suffix("cats/a.txt") == ("cats/a", ".txt")


def test_sixteen_bits_in_a_tar_are_read_whole(tmp_path):
    heat = am.image("heat", channels=1, low=0, high=65535)()
    Image.fromarray(np.array([[300, 1000], [20_000, 65_535]], np.uint16)).save(tmp_path / "a.png")
    as_tars(tmp_path / "tars", {"heat": {"0000.png": (tmp_path / "a.png").read_bytes()}})
    value = open_values(str(tmp_path / "tars"), am.ModalitySet([heat])).read_file("heat", 0)
    assert np.allclose(value, [[300, 1000], [20_000, 65_535]], rtol=1e-5)


def test_numbers_of_rows_keep_their_digits(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"a": [[16777217.0, 0.1]], "b": [np.array([1, 255], np.uint8)]}).save_to_disk(tmp_path)
    row = load_rows(str(tmp_path))[0]
    assert row == {"a": [16777217.0, 0.1], "b": [1, 255]}


def test_rows_keep_the_shape_of_each_value(tmp_path):
    datasets = pytest.importorskip("datasets")
    depth = am.registry().modality("depth")(size=8, patch=4)
    values = [np.random.default_rng(0).random(shape).astype(np.float32) for shape in ((16, 24), (24, 16))]
    datasets.Dataset.from_dict({"depth": [value.tolist() for value in values]}).save_to_disk(tmp_path)
    source = RowSource(DataConfig(path=str(tmp_path)), {"depth": depth}, am.ModalitySet([depth]).layout)
    assert all(np.array_equal(source.values(k)["depth"], value) for k, value in enumerate(values))


def test_dates_of_a_json_file_are_named_where_text_is_wanted(tmp_path):
    pytest.importorskip("datasets")
    caption = am.registry().modality("caption")()
    (tmp_path / "a.jsonl").write_text('{"caption": "2020-01-01"}\n{"caption": "2021-05-06"}\n')
    with pytest.raises(DataError, match=r"holds dates in 'caption', not text for caption: .* save the rows"):
        RowSource(DataConfig(path=str(tmp_path / "a.jsonl")), {"caption": caption}, am.ModalitySet([caption]).layout)


def test_gradients_of_tables_count_every_lookup():
    layout = Layout([Stream(name, name, TokenSpace.grid(40, 4, 4)) for name in "ab"])
    packers = [Packer(layout) for _ in range(100)]
    for packer in packers:
        packer.add_input("a", np.full(16, 7), np.arange(16))
        packer.add_grid_target("b", np.arange(4), np.arange(4))
    batch = collate([packer.pack() for packer in packers], layout)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2), layout)
    found = []
    for low in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):  # as `precision: bfloat16` computes
            (1000 * torch.stack(list(model(batch).values())).mean()).backward()
        found.append(model.input_table.grad[layout.inputs["a"].start + 7].clone())
    assert (found[0] - found[1]).norm() < 0.03 * found[0].norm()  # 0.6 if the table were in bfloat16


def test_orders_depend_on_the_whole_seed():
    drawn = [generator(seed, "order").random() for seed in (5, 5 + 2**32, 5 + 2**63)]
    assert len(set(drawn)) == 3 and drawn[0] == generator(5, "order").random()
