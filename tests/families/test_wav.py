"""WAV files: as the standard library writes them, the kinds that it does not know, and damaged ones."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.errors import ValueProblem
from anymodal.families.wav import GUID, read_wav

SOUND = am.signal("sound", shape=(64,), cell=(8,), rate=8000.0)
STEREO = am.signal("stereo", channels=2, shape=(32,), cell=(8,), rate=8000.0)
VOLTS = am.signal("volts", shape=(64,), cell=(8,), rate=8000.0, low=-5.0, high=5.0, unit="V")
BANDS = am.signal("bands", shape=(4, 8), cell=(2, 4), rate=8000.0)


def by_the_library(numbers: np.ndarray, width: int, rate: int = 8000) -> bytes:
    """A file of whole numbers (samples, channels) of so many bytes, which have a sign from two bytes on."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(numbers.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        data = numbers.astype("u1" if width == 1 else "<i4").reshape(-1, 1).view("u1")
        file.writeframes(data[:, :width].tobytes())
    return content.getvalue()


def by_hand(data: bytes, kind: int, bits: int, channels: int = 1, *, extra: bytes = b"", **changes: object) -> bytes:
    """A file with chunks that readers pass over, one of them of odd length."""
    frame = channels * ((bits + 7) // 8)
    header = struct.pack("<HHIIHH", kind, channels, 8000, 8000 * frame, frame, bits) + extra
    length = changes.get("length", len(data))
    chunks = [(b"LIST", 3, b"abc\0"), (b"fmt ", len(header), header), (b"fact", 4, b"\0" * 4), (b"data", length, data)]
    body = b"".join(name + struct.pack("<I", count) + content for name, count, content in chunks)
    return changes.get("mark", b"RIFF") + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def read(content: bytes, folder: Path) -> np.ndarray:
    (folder / "x.wav").write_bytes(content)
    return read_wav(folder / "x.wav")[0]


@settings(max_examples=30)
@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 3), st.integers(1, 20), st.integers(0, 99))
def test_whole_numbers_are_shares_of_full_scale(tmp_path_factory, width, channels, count, seed):
    low, high = (0, 255) if width == 1 else (-(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)
    numbers = np.random.default_rng(seed).integers(low, high, (count, channels), endpoint=True)
    numbers[0, 0] = low
    found = read(by_the_library(numbers, width), tmp_path_factory.getbasetemp())
    assert found.dtype == np.float32 and found[0, 0] == -1 and np.abs(found).max() <= 1
    assert np.allclose(found, (numbers - (128 if width == 1 else 0)) / 2 ** (8 * width - 1), atol=1e-7)


@pytest.mark.parametrize("bits", [32, 64])
def test_floats_stay_as_they_are(bits, tmp_path):
    numbers = np.array([0.25, -1.0, 1.5, 0.0], f"<f{bits // 8}")
    assert np.array_equal(read(by_hand(numbers.tobytes(), 3, bits), tmp_path)[:, 0], numbers.astype(np.float32))


def test_other_headers(tmp_path):
    data = np.array([[0, 16384], [-32768, 32767]], "<i2").tobytes()
    usual = read(by_hand(data, 1, 16, 2), tmp_path)
    extra = struct.pack("<HHIH", 22, 16, 3, 1) + GUID
    assert np.array_equal(read(by_hand(data, 0xFFFE, 16, 2, extra=extra), tmp_path), usual)
    assert np.array_equal(read(by_hand(data, 1, 12, 2), tmp_path), usual)  # in the upper part of two bytes
    assert np.array_equal(read(by_hand(data, 1, 16, 2, length=0xFFFFFFFF), tmp_path), usual)  # of a stream


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a WAV file"),
        (b"RIFF\0\0\0\0WEBP" + bytes(40), "is not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "it has no header"),
        (b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd", "its header has 4 bytes"),
        (b"RIFF\0\0\0\0WAVE" + bytes(10_000), "it has no header"),
        (by_hand(b"", 1, 16), "holds no sound"),
        (by_hand(b"\0\0", 1, 16)[:-10], "it has no sound"),
        (by_hand(b"\0\0", 1, 16, length=2000), "cut short: it has 2 bytes of sound, its header says 2000"),
        (by_hand(b"\0\0", 1, 16, 0), "its header says 0 channels"),
        (by_hand(b"\0\0", 7, 8), r"8 bits in the encoding 7, which is not read; convert it, as `ffmpeg"),
        (by_hand(b"\0\0", 0xFFFE, 16), "encoding 65534"),
        (by_hand(b"\0\0", 1, 16, mark=b"RIFX"), "of the kind RIFX"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(content, said, tmp_path):
    with pytest.raises(ValueProblem, match=said) as error:
        read(content, tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@settings(max_examples=60)
@given(st.data())
def test_damage_is_one_sentence_or_other_sound(tmp_path_factory, data):
    whole = bytearray(by_the_library(np.arange(40).reshape(20, 2), 2))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, 50))] = data.draw(st.integers(0, 255))
    try:
        assert read(bytes(whole), tmp_path_factory.getbasetemp()).ndim == 2
    except ValueProblem as error:
        assert "\n" not in str(error)


def test_more_than_fits_is_not_read(tmp_path):
    with (tmp_path / "x.wav").open("wb") as file:
        file.write(by_hand(b"", 1, 8, length=2**27))
        file.truncate(2**27 + 1000)  # which takes no room
    with pytest.raises(ValueProblem, match="134217728 numbers, more than the limit"):
        read_wav(tmp_path / "x.wav")


def test_signals_are_read_from_files_bytes_and_open_files(tmp_path):
    numbers = np.random.default_rng(0).integers(-(2**15), 2**15, (50, 2))
    one, two = by_the_library(numbers[:, :1], 2), by_the_library(numbers, 2)
    (tmp_path / "one.wav").write_bytes(one)
    sound = SOUND().accept(tmp_path / "one.wav")
    assert sound.shape == (50,) and np.array_equal(sound, SOUND().read(tmp_path / "one.wav"))
    assert np.array_equal(SOUND().accept(one), sound) and np.array_equal(SOUND().accept(io.BytesIO(one)), sound)
    assert STEREO().accept(two).shape == (50, 2)


def test_a_signal_with_two_axes_has_no_such_files():
    class Table(am.SignalModality):
        shape, cell = (4, 8), (2, 4)

    class Line(Table):
        shape, cell = (8,), (4,)

    assert Table.suffixes == (".npy",) and Line.suffixes == SOUND.suffixes == (".npy", ".wav")


@pytest.mark.parametrize(
    ("cls", "channels", "rate", "said"),
    [
        (SOUND, 1, 44100, r"44100 samples a second, and sound 8000; resample it, as `ffmpeg -i IN.wav -ar 8000"),
        (SOUND, 2, 8000, r"has 2 channels, and sound 1; mix them, as `ffmpeg -i IN.wav -ac 1"),
        (VOLTS, 1, 8000, r"volts is a signal .*, from -5 to 5 V; give an array of these numbers"),
        (BANDS, 1, 8000, r"bands is a signal of shape \(4, frames\)"),
    ],
)
def test_another_rate_other_channels_and_another_range_are_told(cls, channels, rate, said, tmp_path):
    (tmp_path / "x.wav").write_bytes(by_the_library(np.zeros((9, channels)), 2, rate))
    with pytest.raises(ValueProblem, match=said):
        cls().accept(tmp_path / "x.wav")
