"""Feature maps, vectors, dense embeddings and edges: files, crops beside the picture, tokens, training, pictures."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.files import read_arrays
from anymodal.model import ModelConfig
from anymodal.tokenizers.losses import LOSSES
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.run import fit_tokenizer


class Map(am.FeatureMapModality):
    """Features for tests."""

    channels, size, patch, codebook, latent = 6, 64, 8, 32, 8


class Vector(am.VectorModality):
    """Vectors for tests."""

    channels, codebooks, codebook, latent = 24, 4, 16, 16


class Rows(am.EmbeddingModality):
    """Embeddings for tests."""

    width, length = 8, 5


class Lines(am.EdgeModality):
    """Edges for tests."""

    size, patch = 32, 8


MLP: dict[str, int] = {"width": 32, "blocks": 1}
VIT: dict[str, int] = {"dim": 32, "depth": 1, "heads": 2}
seeds = st.integers(0, 2**32)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def value_of(modality: am.Modality, seed: int) -> np.ndarray:
    shapes = {"map": (8, 8, 6), "vector": (24,), "rows": (4, 8)}
    if modality.name == "lines":
        return (noise(seed, 32, 32) > 1).astype(np.uint8) * np.uint8(255)
    return noise(seed, *shapes[modality.name])


everything = st.sampled_from([Map(), Vector(), Rows(), Lines()])


@settings(max_examples=20)
@given(everything, seeds)
def test_files_come_back(tmp_path_factory, modality, seed):
    value = value_of(modality, seed)
    path = tmp_path_factory.mktemp("files") / f"value{modality.suffixes[0]}"
    modality.write(value, path)
    again = modality.read(path)
    assert np.array_equal(again, value) and again.dtype == value.dtype
    assert np.array_equal(modality.accept(str(path)), value)


@given(st.sampled_from([Map(), Vector(), Rows()]), seeds)
def test_tensors_come_back_and_are_finite(modality, seed):
    value = value_of(modality, seed)
    assert np.array_equal(modality.postprocess(modality.preprocess(value)), value)
    for bad in (np.nan, np.inf, -np.inf):
        value.flat[seed % value.size] = bad
        assert np.isfinite(modality.preprocess(value)).all()


@given(st.sampled_from([Map(), Vector(), Rows()]), st.lists(st.integers(0, 9), max_size=4))
def test_other_shapes_are_refused_with_what_is_expected(modality, shape):
    value = np.zeros(shape, np.float32)
    try:
        accepted = modality.accept(value)
    except am.ValueProblem as problem:
        assert f"{modality.name} takes " in str(problem) and str(tuple(shape)) in str(problem)
    else:
        assert accepted.shape == value.shape and accepted.ndim == value_of(modality, 0).ndim
    for nothing in (None, object(), "a", [[1, 2], [3]], np.array(["a"])):
        with pytest.raises(am.ValueProblem):
            modality.accept(nothing)


crops = st.builds(
    lambda left, top, side, flip: am.Crop(left / 8, top / 8, side / 8, side / 8, flip),
    st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.booleans(),
)  # fmt: skip


@given(crops, seeds)
def test_features_follow_the_crop_of_the_picture(crop, seed):
    """Features that are the mean color of their cell: cropped, they resemble those of the cropped picture."""
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    slopes = np.random.default_rng(seed).normal(size=(3, 2))
    picture = np.stack([sx * x + sy * y for sx, sy in slopes], -1).astype(np.float32)

    class Colors(am.FeatureMapModality):
        channels, size, patch = 3, 64, 8

    photograph = am.image("photograph", channels=3, low=-8, high=8)(size=64, patch=8)
    cells = lambda value: value.reshape(8, 8, 8, 8, 3).mean((1, 3))  # noqa: E731
    expected = cells(photograph.crop(picture, crop))
    found = Colors().crop(cells(picture), crop)
    inner = slice(3, -3) if crop.width < 0.25 else slice(1, -1)  # beyond the outermost cells nothing is known
    assert found.shape == (8, 8, 3)
    span = np.abs(slopes).sum() / 8
    assert np.abs(found[inner, inner] - expected[inner, inner]).max() < max(span * 0.6, 0.02)


@given(seeds)
def test_flips_are_exact_and_their_own_inverse(seed):
    value = noise(seed, 8, 8, 6)
    once = Map().crop(value, am.Crop(flip=True))
    assert np.array_equal(once, value[:, ::-1]) and np.array_equal(Map().crop(once, am.Crop(flip=True)), value)
    assert np.array_equal(
        Vector().crop(value_of(Vector(), seed), am.Crop(0.5, 0, 0.5, 0.5, True)), value_of(Vector(), seed)
    )


def test_grids_of_any_shape_are_cut_to_the_square_of_the_model():
    value = noise(0, 8, 16, 6)
    assert Map().extent(value) == (128, 64)
    assert np.array_equal(Map().crop(value, am.Crop.center(128, 64)), value[:, 4:12])
    assert Map().crop(noise(0, 30, 30, 6), am.Crop()).shape == (8, 8, 6)


def tokenizers() -> list[am.Modality]:
    torch.manual_seed(0)
    members: list[am.Modality] = [Map(), Vector()]
    for modality, part in zip(members, (VIT, MLP), strict=True):
        modality.tokenizer = VQTokenizer(modality.tokenizer_config(part, part)).eval()
    return members


def test_tokens_fill_the_space_and_come_back_as_values():
    for modality in tokenizers():
        values = [value_of(modality, seed) for seed in range(3)]
        (stream,) = modality.streams()
        ids = modality.tokenize(values)[modality.name]
        for row in ids:
            assert row.shape == (stream.space.length,) and row.dtype == np.int64
            assert row.min() >= 0 and row.max() < stream.space.size
        for again, value in zip(modality.detokenize(ids), values, strict=True):
            assert again.shape == value.shape and again.dtype == np.float32
        alone = np.stack([modality.tokenize([value])[modality.name][0] for value in values])
        assert np.array_equal(alone, np.stack(ids))
    with pytest.raises(am.CheckpointError, match="map has no tokenizer"):
        Map().tokenize([noise(0, 8, 8, 6)])


def test_one_token_stands_for_one_cell():
    config = Map().tokenizer_config(VIT, VIT)
    assert (config.encoder.stride, config.image_size, config.channels) == (1, 64, 6)


@pytest.mark.parametrize("modality", tokenizers(), ids=lambda m: m.name)
def test_thirty_steps_lower_the_loss(modality):
    """Values in a plane of three dimensions, which a small codebook can learn."""
    basis = noise(1, 3, modality.channels)

    def batch(step: int) -> torch.Tensor:
        rng = np.random.default_rng([7, step])
        if modality.name == "vector":
            values = [rng.normal(size=3).astype(np.float32) @ basis for _ in range(32)]
        else:
            values = [rng.normal(size=(8, 8, 3)).astype(np.float32) @ basis for _ in range(8)]
        return torch.from_numpy(np.stack([modality.preprocess(v) for v in values]))

    def error(tokenizer: VQTokenizer) -> float:
        x = batch(10_000)
        with torch.no_grad():
            return float(LOSSES[modality.loss](tokenizer.eval()(x).output, x))

    torch.manual_seed(0)
    tokenizer = VQTokenizer(modality.tokenizer_config(*([MLP if modality.name == "vector" else VIT] * 2)))
    before = error(tokenizer)
    run = TrainingSettings(steps=30, batch_size=32, lr=3e-3, precision="float32")
    trained = fit_tokenizer(tokenizer.train(), map(batch, range(30)), modality.loss, run)
    assert error(trained) < 0.8 * before


def test_embeddings_are_rows_that_models_only_read():
    (stream,) = Rows().streams()
    assert stream.is_dense and stream.is_sequence and not stream.target and stream.space.bias
    (row,) = Rows().tokenize([noise(0, 9, 8)])["rows"]
    assert row.shape == (5, 8) and row.dtype == np.float32
    with pytest.raises(am.GenerationError, match="rows is read by models"):
        Rows().detokenize([np.zeros(3, np.int64)])


def test_embeddings_of_4m_files_are_read(tmp_path):
    emb, valid = noise(0, 2, 7, 8), np.array([[1, 1, 1, 0, 0, 0, 0], [1] * 7], bool)
    np.savez(tmp_path / "a.npz", emb=emb, mask_valid=valid)
    assert np.array_equal(Rows().read(tmp_path / "a.npz"), emb[0, :3])
    np.savez(tmp_path / "b.npz", emb=emb[1].astype(np.float16))
    assert Rows().read(tmp_path / "b.npz").shape == (7, 8)
    np.savez(tmp_path / "c.npz", other=emb)
    with pytest.raises(am.ValueProblem, match=r"c\.npz: .*'emb' \(this one has other"):
        Rows().read(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", emb=emb, mask_valid=valid[:, :3])
    with pytest.raises(am.ValueProblem, match=r"mask_valid.*7 rows"):
        Rows().read(tmp_path / "d.npz")


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in range(5):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                for _ in range(240):
                    file.write(bytes(2**20))


def test_hostile_archives_are_refused(tmp_path):
    np.savez(tmp_path / "pickle.npz", emb=np.array([{"a": 1}], object))
    (tmp_path / "text.npz").write_text("this is no archive")
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, emb=noise(0, 20, 8))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:200])
    damaged = bytearray(whole.read_bytes())
    damaged[120:140] = bytes(20)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    bomb(tmp_path / "bomb.npz")
    for name in ("pickle", "text", "cut", "damaged", "bomb", "missing"):
        with pytest.raises(am.ValueProblem, match=rf"{name}\.npz"):
            read_arrays(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("modality", [Map(), Vector(), Rows(), Lines()], ids=lambda m: m.name)
def test_everything_can_be_shown_and_scores_itself_perfectly(modality):
    best = {"cosine": 1, "smooth_l1": 0, "edge_f1": 1}
    for value in (value_of(modality, 0), np.zeros_like(value_of(modality, 0))):
        picture = modality.show(value, 96)
        assert picture.mode == "RGB" and max(picture.size) == 96
        for name, number in modality.score([value], [value]).items():
            assert number == pytest.approx(best[name], abs=1e-9)
    if modality.name != "lines":
        nan = np.full_like(value_of(modality, 0), np.nan)
        assert max(modality.show(nan, 64).size) == 64


def test_like_features_have_like_colors():
    value = np.zeros((8, 8, 6), np.float32)
    value[:, 4:] = noise(3, 6)
    pixels = np.asarray(Map().show(value, 8)).astype(int)
    assert np.abs(pixels[:, 1] - pixels[:, 2]).max() <= 8 and np.abs(pixels[:, 1] - pixels[:, 6]).max() > 100


def test_channels_of_a_vector_are_cells_colored_by_their_sign():
    value = np.zeros(Vector().channels, np.float32)
    value[0], value[1] = 2, -2
    size = 16 * math.ceil(math.sqrt(len(value)))
    pixels = np.asarray(Vector().show(value, size), int)
    plus, minus = pixels[8, 8], pixels[8, 24]
    assert plus[0] > plus[2] + 80 and minus[2] > minus[0] + 80
    assert [words for _, words in Vector().legend(value)] == ["2", "0", "-2"]


def test_metrics_are_the_textbook_ones():
    one, two = np.zeros((1, 1, 6), np.float32), np.zeros((1, 1, 6), np.float32)
    one[..., 0], two[..., 1] = 1, 3
    scores = Map().score([one, two], [two, two])
    assert scores["cosine"] == pytest.approx(0.5)
    assert scores["smooth_l1"] == pytest.approx((0.5 * 1 + 2.5) / 6 / 2)


def test_a_set_of_them_generates(vocabulary):
    grid, vector = tokenizers()
    rows = Rows()
    torch.manual_seed(0)
    model = am.AnyModel(
        am.ModalitySet([grid, vector, rows], vocabulary), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    )
    out = model.generate({"rows": noise(0, 3, 8)}, targets=["vector", "map"], seed=0)
    assert out["vector"].shape == (24,) and out["map"].shape == (8, 8, 6)
