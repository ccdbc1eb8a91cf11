"""Arrays as other programs lay them out: one value where the meaning is certain, else the line of code that repairs."""

from __future__ import annotations

import io
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal import content
from anymodal.families.layouts import channels_last

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 7, 3), np.uint8)
GRAY = RNG.integers(0, 256, (6, 7), np.uint8)
GRAY[0, 0] = 255


class Planet(am.ImageModality):
    """More channels than pictures hold."""

    channels = 5


def modality(name: str, **changed):
    return Planet() if name == "planet" else am.registry().modality(name)(**changed)


def rgba(alpha: int) -> np.ndarray:
    return np.concatenate([COLORS, np.full((6, 7, 1), alpha, np.uint8)], 2)


SAME = {
    "channels first": ("rgb", COLORS.transpose(2, 0, 1), COLORS),
    "gray": ("rgb", GRAY, np.repeat(GRAY[..., None], 3, 2)),
    "gray with an axis": ("rgb", GRAY[..., None], np.repeat(GRAY[..., None], 3, 2)),
    "gray with an axis first": ("rgb", GRAY[None], np.repeat(GRAY[..., None], 3, 2)),
    "bool": ("rgb", GRAY > 99, np.repeat(((GRAY > 99) * np.uint8(255))[..., None], 3, 2)),
    "opaque": ("rgb", rgba(255), COLORS),
    "opaque, channels first": ("rgb", rgba(255).transpose(2, 0, 1), COLORS),
    "transparent": ("rgb", rgba(0), np.full_like(COLORS, 255)),
    "floats": ("rgb", COLORS / 255, COLORS),
    "float32": ("rgb", (COLORS / 255).astype(np.float32), COLORS),
    "floats, channels first": ("rgb", torch.from_numpy(COLORS / 255).permute(2, 0, 1), COLORS),
    "int64": ("rgb", torch.from_numpy(COLORS).long(), COLORS),
    "with a gradient": ("rgb", torch.from_numpy(COLORS / 255).requires_grad_(), COLORS),
    "bfloat16": ("depth", torch.full((6, 7), 0.5, dtype=torch.bfloat16), np.full((6, 7), 0.5, np.float32)),
    "bfloat16 of jax": ("depth", np.full((6, 7), 0.5, ml_dtypes.bfloat16), np.full((6, 7), 0.5, np.float32)),
    "ids in 4 bits": ("semseg", np.full((6, 7), 15, ml_dtypes.uint4), np.full((6, 7), 15, np.uint8)),
    "depth, channels first": ("depth", torch.full((1, 6, 7), 0.5), np.full((6, 7), 0.5, np.float32)),
    "edges": ("canny_edge", (GRAY > 99).astype(np.float32), (GRAY > 99) * np.uint8(255)),
    "normals": ("normal", torch.zeros(3, 6, 7), np.zeros((6, 7, 3), np.float32)),
    "five channels": ("planet", np.ones((5, 6, 7), np.float32), np.ones((6, 7, 5), np.float32)),
    "ids": ("semseg", torch.ones(1, 6, 7, dtype=torch.int64), np.ones((6, 7), np.uint8)),
    "ids, axis last": ("semseg", np.ones((6, 7, 1), np.uint8), np.ones((6, 7), np.uint8)),
}


@pytest.mark.parametrize("case", SAME)
def test_what_can_mean_one_thing_is_taken(case):
    name, given_, right = SAME[case]
    value = modality(name).accept(given_)
    assert value.dtype == right.dtype and value.shape == right.shape and np.array_equal(value, right)
    again = modality(name).accept(value)
    assert np.array_equal(again, value)


def test_a_picture_of_few_rows_is_not_taken_for_channels():
    thin = RNG.integers(0, 256, (3, 9, 3), np.uint8)
    assert np.array_equal(modality("rgb").accept(thin), thin)
    for shape in ((3, 9, 4), (3, 9, 1)):
        value = modality("rgb").accept(np.full(shape, 255, np.uint8))
        assert value.shape == (3, 9, 3) and (value == 255).all()
    assert modality("depth").accept(np.ones((1, 9), np.float32)).shape == (1, 9)


REPAIRED = {
    "batch": ("rgb", COLORS[None]),
    "batch, channels first": ("rgb", np.ascontiguousarray(COLORS.transpose(2, 0, 1)[None])),
    "floats to 255": ("rgb", COLORS.astype(np.float32)),
    "floats from -1": ("rgb", COLORS / 127.5 - 1),
    "16 bits": ("rgb", COLORS.astype(np.uint16) * 257),
    "colors as depth": ("depth", np.dstack([GRAY / 255] * 3)),
    "colors as ids": ("semseg", np.ones((6, 7, 3), np.uint8)),
    "float ids": ("semseg", np.ones((6, 7), np.float32)),
    "gray normals": ("normal", np.ones((6, 7), np.float32)),
    "features, channels first": ("clip", np.ones((512, 2, 3), np.float32)),
    "batch of features": ("clip", np.ones((1, 2, 3, 512), np.float32)),
    "batch of vectors": ("dinov2_global", np.ones((1, 768), np.float32)),
    "batch of rows": ("t5_caption", np.ones((1, 2, 4096), np.float32)),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_the_line_of_code_that_is_printed_repairs(case):
    name, value = REPAIRED[case]
    for _ in range(3):
        with pytest.raises(am.ValueProblem) as raised:
            modality(name).accept(value)
        line = re.search(r"; pass (\S.*)$", str(raised.value))
        assert line, str(raised.value)
        value = eval(line[1], {"value": value, "numpy": np})  # what a user would paste
        try:
            modality(name).accept(value)
            return
        except am.ValueProblem:
            continue
    raise AssertionError("never taken")


@settings(max_examples=80)
@given(
    st.lists(st.integers(0, 9), max_size=4), st.sampled_from(["u1", "f4", "?", "i8", "u2"]),
    st.sampled_from(["rgb", "depth", "normal", "semseg", "canny_edge", "planet", "clip", "sam_instance"]),
    st.sampled_from([0, 1, 200, 70_000]),
)  # fmt: skip
def test_any_array_is_one_value_or_one_sentence(shape, dtype, name, top):
    value = np.full(shape, top).astype(dtype)
    try:
        modality(name).accept(value)
    except am.ValueProblem as error:
        assert "\n" not in str(error)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5]))
def test_what_has_its_channels_last_keeps_them(height, width, channels):
    array = np.arange(height * width * channels).reshape(height, width, channels)
    right = array[..., 0] if channels == 1 else array
    assert np.array_equal(channels_last(array, channels), right)


# Content and addresses.


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(COLORS).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_content_is_taken(wrap):
    assert np.array_equal(modality("rgb").accept(wrap(png())), COLORS)
    file = io.BytesIO()
    np.save(file, np.ones((2, 2, 512), np.float32))
    assert modality("clip").accept(wrap(file.getvalue())).shape == (2, 2, 512)
    assert modality("caption").accept(wrap(b"a red car\n")) == "a red car"


def test_an_open_file_is_read_as_often_as_it_is_asked_for():
    """From where it is; others go on from there too."""
    file = io.BytesIO(b"head" + png())
    file.seek(4)
    for _ in range(2):
        assert np.array_equal(modality("rgb").accept(file), COLORS)
    assert file.tell() == 4


def test_content_that_cannot_be_read_is_named(monkeypatch):
    with pytest.raises(am.ValueProblem, match=r"the content of 5 bytes is not a picture"):
        modality("rgb").accept(b"bytes")
    with pytest.raises(am.ValueProblem, match=r"gives str, not bytes; open it as open\(path, 'rb'\)"):
        modality("rgb").accept(io.StringIO("text"))
    used = io.BytesIO(png())
    used.read()
    with pytest.raises(am.ValueProblem, match=r"nothing left to read; go to its beginning with seek\(0\)"):
        modality("rgb").accept(used)
    monkeypatch.setattr(content, "MOST_BYTES", 100)
    with pytest.raises(am.ValueProblem, match="more than the limit"):
        modality("rgb").accept(io.BytesIO(png()))


class Server(BaseHTTPRequestHandler):
    """A picture, an answer without end, one that is cut short, and errors."""

    def do_GET(self) -> None:
        content, place = png(), self.path.split("?")[0]
        self.send_response({"/error": 500, "/away": 302}.get(place, 200))
        if place == "/away":
            self.send_header("Location", "file:///etc/passwd")
        elif place != "/endless":
            self.send_header("Content-Length", str(len(content) + (99 if place == "/short" else 0)))
        self.end_headers()
        self.wfile.write(content)
        try:
            while place == "/endless":
                self.wfile.write(bytes(2**16))
        except OSError:  # the reader has had enough
            pass

    def do_HEAD(self) -> None:
        self.send_response(405)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.daemon_threads = True
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_an_address_is_downloaded_within_bounds(server, monkeypatch):
    assert np.array_equal(modality("rgb").accept(f"{server}/a"), COLORS)
    monkeypatch.setattr(content, "MOST_BYTES", 4 * 2**20)
    with pytest.raises(am.ValueProblem, match=r"/endless has more than the limit of 4 MiB"):
        modality("rgb").accept(f"{server}/endless")
    for place in ("error", "short", "away"):
        with pytest.raises(am.ValueProblem, match=rf"/{place} cannot be read|be read at \S*/{place};") as raised:
            modality("rgb").accept(f"{server}/{place}?token=secret")
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_addresses_that_lead_nowhere_are_one_sentence():
    for address in ("nosuch://a/b.png", "http://127.0.0.1:9/a.png", "memory://nosuch.png", "http://", "http://[::1"):
        with pytest.raises(am.ValueProblem) as raised:
            modality("rgb").accept(address)
        assert "\n" not in str(raised.value) and address.split("?")[0] in str(raised.value)


def test_a_file_from_outside_names_no_other(tmp_path, server):
    """A JSON file with a path or an address in it opens neither."""
    members = [modality("metadata_image"), modality("metadata_semantic")]
    shared = am.SharedModality("metadata", members)
    (tmp_path / "other.json").write_text('{"brightness": 1}')
    for place in (str(tmp_path / "other.json"), f"{server}/a"):
        (tmp_path / "a.json").write_text(f'{{"metadata_image": "{place}"}}')
        with pytest.raises(am.ValueProblem, match="not what stands for a file"):
            shared.read(tmp_path / "a.json")
