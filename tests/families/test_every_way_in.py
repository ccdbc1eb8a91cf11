"""The same value by path, picture, array, list, folder, tar, table or server: one natural value, or a refusal."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from file_kinds import COLORS, FILE_KINDS, GRAY, RAMP, npy, png, saved, with_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from tiff_made import tiff, turned
from ways import Refused, agree, by_hand, in_datasets, in_rows, opened, outcome

import anymodal as am
from anymodal.data.sources.huggingface import read_content

LEFT_OUT = ("folders", "tars", "webdataset")  # these refuse what is not finite, which nothing can learn from
NOT_FINITE = float("nan")


def modality(name: str, **settings):
    return am.registry().modality(name)(**settings)


class Heat(am.ImageModality):
    """One channel, in degrees."""

    channels, low, high = 1, 10.0, 20.0


class Planet(am.ImageModality):
    """More channels than pictures hold."""

    channels, low, high = 5, 0.0, 1.0


class Shades(am.ImageModality):
    """Gray levels as they are."""

    channels, low, high, dtype = 1, 0.0, 255.0, "uint8"


class Zones(am.LabelMapModality):
    """A few classes."""

    classes = ("sea", "sand", "rock", "grass")


FAMILIES = {each.name: each for each in (Heat, Planet, Shades, Zones)}
PICTURES = ["rgb", "depth", "normal", "semseg", "canny_edge", "sam_edge", "sam_instance", *FAMILIES]


# Pictures of 2 rows and 4 columns, by OpenJPEG without loss: 0, 1000, 2000, 4095; 0, 5, 7, 15; -1000, 0, 5, 2000.
SIZE = "/0//UQApAAAAAAAEAAAAAgAAAAAAAAAAAAAABAAAAAIAAAAAAAAAAAAB"
JPEG_2000 = {
    "12": SIZE + "CwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/kAAKAAAAAAAeAAH/k9/gNAkZ6CoInLtsTvCYo3v/2Q==",
    "4": SIZE + "AwEB/1IADAAAAAEAAAQEAAH/XAAEQCD/kAAKAAAAAAAXAAH/k98gYAlESmPCz//Z",
    "signed": SIZE + "iwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/kAAKAAAAAAAbAAH/k8/kKBV4TqpABYUWxn//2Q==",
}


def made(name: str):
    return FAMILIES[name]() if name in FAMILIES else modality(name)


@pytest.mark.parametrize("name", [*am.modalities(), *FAMILIES])
def test_a_file_of_any_kind_is_one_value(name, tmp_path):
    one, slow = made(name), name == "sam_instance"  # which traces each of a hundred ids
    kinds = [kind for title, kind in FILE_KINDS.items() if not (slow and title.startswith(("gray", "GIF")))]
    files = {f"{k:03}{Path(file).suffix}": make() for k, (file, make) in enumerate(kinds)}
    layouts = in_datasets(one, files, tmp_path)
    rows = in_rows(one, [{"bytes": content, "path": file} for file, content in files.items()], tmp_path / "rows")
    for (file, content), row in zip(files.items(), rows, strict=True):
        found = by_hand(one, content, tmp_path / file) | layouts[file]
        agree(found | ({"row": row} if Path(file).suffix in one.suffixes else {}), lenient=["decoded picture"])


def of_gray(name: str, samples: np.ndarray, top: int):
    """The natural value of gray samples as the format means them."""
    one = made(name)
    if name in ("semseg", "zones"):
        strange = (samples >= len(one.classes)) & (samples != 255)
        return Refused("") if strange.any() else samples.astype(np.uint8)
    share = np.float32(samples) / np.float32(top)
    if name == "rgb":
        return np.repeat(np.rint(samples * (255 / top)).astype(np.uint8)[..., None], 3, 2)
    low, high = one.file_range
    return np.rint(share * 255).astype(np.uint8) if one.dtype == "uint8" else share * (high - low) + low


GRAYS = ["rgb", "depth", "semseg", "canny_edge", "sam_edge", "heat", "zones", "shades"]


@settings(max_examples=60)
@given(
    st.sampled_from(GRAYS), st.sampled_from(["png", "tif"]), st.sampled_from([1, 2, 4, 8, 12, 16]),
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.sampled_from("<>"), st.integers(0, 99),
)  # fmt: skip
def test_gray_of_every_depth_and_orientation(name, ending, bits, height, width, orientation, order, seed):
    if bits == 12 and (ending, order) != ("tif", "<"):
        bits = 8
    samples = np.random.default_rng(seed).integers(0, min(2**bits, 2 ** (bits if seed % 2 else 2)), (height, width))
    content = png(samples, bits) if ending == "png" else tiff(samples, bits, order=order, orientation=orientation)
    if ending == "png" and orientation > 1:
        content = with_chunk(content, b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0" % orientation)
    found = a_few_ways(made(name), content, f".{ending}")
    right = of_gray(name, turned(samples, orientation), 2**bits - 1)
    value = agree(found, lenient=["decoded picture"])
    if isinstance(right, Refused):
        assert isinstance(value, Refused)
    else:
        assert value.dtype == right.dtype and np.allclose(value, right, atol=1e-5), (value, right)


@settings(max_examples=60)
@given(
    st.sampled_from([n for n in PICTURES if n != "planet"]), st.sampled_from(["png", "tif"]), st.sampled_from([8, 16]),
    st.sampled_from(["gray", "gray alpha", "color", "color alpha", "equal", "equal alpha", "palette"]),
    st.sampled_from([1, 2]), st.integers(1, 8), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_every_kind_of_color(name, ending, bits, kind, planar, orientation, opaque, seed):
    """One outcome; one-number modalities never take colors or what is transparent, and photographs never refuse."""
    rng, color, top = np.random.default_rng(seed), "color" in kind, 2**bits - 1
    samples = rng.integers(0, 3, (4, 6, 3 if color else 1)) * (top // 4)
    samples = np.repeat(samples, 3, 2) if "equal" in kind else samples
    if "alpha" in kind:
        cover = np.full((4, 6, 1), top) if opaque else rng.integers(0, 2, (4, 6, 1)) * top
        samples = np.concatenate([samples, cover], 2)
    channels = samples.shape[2]
    if kind == "palette":
        picture = Image.fromarray((samples[..., 0] % 4).astype(np.uint8)).convert("P")
        content = saved(picture, "PNG" if ending == "png" else "TIFF")
    elif ending == "png":
        content = png(samples, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels])
    else:
        extra = (2,) if channels in (2, 4) else ()
        content = tiff(samples, bits, 2 if channels > 2 else 1, planar, orientation=orientation, extra=extra)
    value = agree(a_few_ways(made(name), content, f".{ending}"), lenient=["decoded picture"])
    differ = channels > 2 and kind != "palette" and (samples[..., :3] != samples[..., :1]).any()
    clear = "alpha" in kind and kind != "palette" and not opaque and not samples[..., -1].all()
    if name not in ("rgb", "normal") and (differ or clear or (bits == 16 and channels > 1 and kind != "palette")):
        assert isinstance(value, Refused)
    if name == "rgb" and not isinstance(value, Refused) and kind in ("gray", "color", "equal"):
        shown = turned(samples, orientation) if ending == "tif" else samples
        assert np.abs(value - np.rint(shown * (255 / top))).max() <= 1
    if name == "rgb" and (ending == "png" or (bits == 8 and planar == 1)):
        assert not isinstance(value, Refused)


def a_few_ways(one, content: bytes, ending: str) -> dict:
    """The ways that need no folder of their own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = by_hand(one, content, Path(folder, f"a{ending}"))
        return found | {"row": outcome(lambda: read_content(one, content, ending if ending in one.suffixes else ""))}


# Arrays.


SHAPES = {
    **dict.fromkeys(("rgb", "normal"), (4, 5, 3)),
    **dict.fromkeys(("depth", "semseg", "canny_edge", "sam_edge", "sam_instance", "heat", "shades", "zones"), (4, 5)),
    "planet": (4, 5, 5),
    "color_palette": (3, 3),
    "clip": (2, 3, 512),
    "dinov2": (2, 3, 768),
    "imagebind": (2, 3, 1280),
    "dinov2_global": (768,),
    "imagebind_global": (1280,),
    "t5_caption": (2, 4096),
}
TYPES = ["?", "u1", "<u2", ">u2", "i1", "<i4", ">i4", "<i8", "<f2", "<f4", ">f4", "<f8", ">f8"]


def test_every_modality_of_arrays_is_tried():
    spelled = {name for name in am.modalities() if modality(name).spelled}
    assert set(am.modalities()) <= set(SHAPES) | spelled


@settings(max_examples=80)
@given(
    st.sampled_from(list(SHAPES)), st.sampled_from(TYPES), st.sampled_from(["C", "F", "flipped", "strided"]),
    st.sampled_from([1, 4, 100, 70_000]), st.sampled_from([None, NOT_FINITE, float("inf"), -1.0]), st.integers(0, 99),
)  # fmt: skip
def test_an_array_is_one_value_however_it_lies_in_memory(name, dtype, order, top, special, seed):
    one, rng = made(name), np.random.default_rng(seed)
    array = (
        rng.integers(0, top + 1, SHAPES[name])
        if dtype[0 if dtype == "?" else -2] in "ui?"
        else rng.random(SHAPES[name]) * top
    )
    with np.errstate(over="ignore"):
        array = array.astype(dtype)
    if special is not None and array.dtype.kind == "f":
        array.flat[0] = special
    plain = np.ascontiguousarray(array)
    if order == "F":
        array = np.asfortranarray(array)
    elif order == "flipped":
        array = array[::-1].copy()[::-1]
    elif order == "strided":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    native = plain.astype(plain.dtype.newbyteorder("="))
    found = {
        "array": outcome(lambda: one.accept(array)),
        "plain": outcome(lambda: one.accept(plain)),
        "tensor": outcome(lambda: one.accept(torch.from_numpy(native))),
        "list": outcome(lambda: one.accept(plain.tolist())),
    }
    if ".npy" in one.suffixes:
        found |= a_few_ways(one, npy(array), ".npy")
    value = agree(found)
    if not isinstance(value, Refused) and isinstance(value, np.ndarray):
        assert value.dtype.isnative and np.array_equal(value, one.accept(value), equal_nan=True)


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_in_rows_and_layouts(name, tmp_path):
    one, whole = made(name), name in ("semseg", "zones", "sam_instance")
    array = np.random.default_rng(0).integers(0, 2, SHAPES[name]).astype("u1" if whole else "f4")
    array = array.astype("u1") if getattr(one, "dtype", "") == "uint8" or name == "color_palette" else array
    files = {"a.npy": npy(array), "b.npy": npy(np.asfortranarray(array))} if ".npy" in one.suffixes else {}
    layouts = in_datasets(one, files, tmp_path)
    rows = dict(enumerate(in_rows(one, [array.tolist()], tmp_path / "rows")))
    value = agree({"array": outcome(lambda: one.accept(array)), **rows, **layouts.get("a.npy", {})})
    assert not isinstance(value, Refused)
    agree({"array": value, **layouts.get("b.npy", {})})


@pytest.mark.parametrize("name", [*SHAPES])
def test_arrays_that_hold_no_numbers(name, tmp_path):
    one, shape = made(name), SHAPES[name]
    objects = io.BytesIO()
    np.save(objects, np.ones(shape, object), allow_pickle=True)
    masked = np.ma.masked_array(np.ones(shape, np.uint8), np.ones(shape, bool))
    empty, dates = np.ones((0, *shape[1:]), np.uint8), np.zeros(shape, "M8[s]")
    others = (np.uint8(1), np.array("a"), b"bytes", io.BytesIO(b"bytes"), io.StringIO("text"), io.BytesIO())
    for value in (np.ones(shape, object), np.ones(shape, complex), empty, masked, dates, *others):
        if not (name == "color_palette" and getattr(value, "shape", None) == (0, 3)):
            assert isinstance(outcome(lambda v=value: one.accept(v)), Refused), value
    for content in (objects.getvalue(), npy(np.ones(shape, complex)), npy(np.zeros(3, [("a", "f4")]))):
        if ".npy" in one.suffixes:
            assert isinstance(agree(a_few_ways(one, content, ".npy")), Refused)


def test_archives_of_arrays():
    t5, rows = modality("t5_caption"), np.ones((1, 2, 4096), np.float32)

    def npz(**arrays):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    assert agree(a_few_ways(t5, npz(emb=rows, mask_valid=np.array([[1, 0]])), ".npz")).shape == (1, 4096)
    assert agree(a_few_ways(t5, npz(other=rows[0], emb=rows), ".npz")).shape == (2, 4096)
    for strange in (npz(a=rows), npz(), npz(emb=rows.astype(complex)), npz(emb=rows, mask_valid=np.ones((1, 3)))):
        assert isinstance(agree(a_few_ways(t5, strange, ".npz")), Refused)
    assert read_content(t5, npz(emb=rows), "").shape == (2, 4096)


def test_bools_mean_what_a_picture_of_one_bit_means():
    mask = np.eye(6, dtype=bool)
    with pytest.raises(am.ValueProblem, match="from 10 to 20, got whole numbers from 0 to 1"):
        made("heat").accept(mask)
    for name in ("canny_edge", "sam_edge", "depth", "shades", "semseg", "zones"):
        one = made(name)
        values = {"bools": mask, "picture": Image.fromarray(mask), "list": mask.tolist()}
        found = {way: one.accept(value) for way, value in values.items()}
        agree(found | {"png": read_content(one, png(mask.astype(int), 1), ".png")})
    assert made("canny_edge").accept(mask).max() == 255


# Pictures that Pillow has decoded already.


def test_ids_that_pillow_has_multiplied_are_undone_or_refused(tmp_path):
    ids = RAMP % 4
    (tmp_path / "a.png").write_bytes(png(ids, 2))
    (tmp_path / "a.pgm").write_bytes(b"P5 4 3 20\n" + bytes(range(12)))
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert np.array_equal(modality("semseg").accept(picture), ids)
    for content in (png(ids, 2), png(RAMP % 16, 4), (tmp_path / "a.pgm").read_bytes()):
        for name in ("semseg", "sam_instance"):
            with pytest.raises(am.ValueProblem, match=r"decoded elsewhere.*pass its path"):
                modality(name).accept(opened(content, True))
    assert np.array_equal(modality("semseg").accept(opened(png(RAMP % 100, 8), True)), RAMP % 100)


def test_lost_bits_are_refused_also_after_decoding():
    for content in (png(np.dstack([RAMP, RAMP * 0 + 65535]), 16, 4), png(np.dstack([RAMP] * 3), 16, 2)):
        with pytest.raises(am.ValueProblem, match="decoded elsewhere"):
            modality("depth").accept(opened(content, True))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_tiff_that_lies_on_its_side(orientation, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(GRAY[:8], orientation=orientation))
    one, right = modality("semseg"), turned(GRAY[:8], orientation)
    assert np.array_equal(one.accept(tmp_path / "a.tif"), right)
    with Image.open(tmp_path / "a.tif") as picture:
        assert np.array_equal(one.accept(picture), right)
    with Image.open(tmp_path / "a.tif") as picture:
        picture.load()
        with pytest.raises(am.ValueProblem, match="mixed up; pass its path"):
            one.accept(picture)


def test_integers_whose_white_nobody_states_are_no_samples():
    signed = tiff(RAMP, 32, sign=2), tiff(RAMP, 16, sign=2), tiff(-RAMP % 9, 8, sign=2)
    for content in (*signed, tiff(RAMP, 32), tiff(RAMP, 16, 0)):
        assert isinstance(agree(a_few_ways(modality("depth"), content, ".tif")), Refused)
    assert np.array_equal(agree(a_few_ways(modality("semseg"), tiff(RAMP % 99, 32), ".tif")), RAMP % 99)
    assert agree(a_few_ways(modality("depth"), tiff(RAMP * 0 + 4095, 12), ".tif")).min() == 1


def opened_content(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def decoded(path: Path) -> Image.Image:
    with Image.open(path) as opened_file:
        opened_file.load()
    return opened_file


@pytest.mark.parametrize(
    "opens", [Path, Path.read_bytes, opened_content, decoded], ids=["path", "bytes", "opened", "decoded"]
)
def test_jpeg_2000_has_the_levels_of_its_file(opens, tmp_path):
    """Pillow moves 12 bits up to 16, 4 to 8, and samples with a sign up by half (findings/pillow_jpeg2000_bits.sh)."""
    paths = {name: tmp_path / f"{name}.j2k" for name in JPEG_2000}
    for name, text in JPEG_2000.items():
        paths[name].write_bytes(base64.b64decode(text))
    found = np.squeeze(Heat().accept(opens(paths["12"])))
    assert np.allclose(found, [10 + 10 * level / 4095 for level in (0, 1000, 2000, 4095)], atol=1e-5)
    with pytest.raises(am.ValueProblem, match="its samples of 4 bits are decoded darker than they are; save it as PNG"):
        Heat().accept(opens(paths["4"]))
    with pytest.raises(am.ValueProblem, match="its signed samples are decoded as others; save it as 16-bit PNG"):
        Heat().accept(opens(paths["signed"]))


def test_photographs_are_srgb_by_profile_and_by_gamma(tmp_path):
    linear = with_chunk(png(COLORS, 8, 2), b"gAMA", (100000).to_bytes(4, "big"))
    value = agree(a_few_ways(modality("rgb"), linear, ".png")) / 255
    light = COLORS / 255
    right = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(value - right).max() <= 0.5 / 255 + 1e-9
    for plain in (45455).to_bytes(4, "big"), (47000).to_bytes(4, "big"):
        content = with_chunk(png(COLORS, 8, 2), b"gAMA", plain)
        assert np.array_equal(agree(a_few_ways(modality("rgb"), content, ".png")), COLORS)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = saved(Image.fromarray(COLORS), "PNG", icc_profile=profile)
    assert np.abs(agree(a_few_ways(modality("rgb"), content, ".png")).astype(int) - COLORS).max() <= 1
    numbers = with_chunk(png(GRAY, 8), b"gAMA", (100000).to_bytes(4, "big"))
    assert np.allclose(agree(a_few_ways(modality("depth"), numbers, ".png")), GRAY / 255)
