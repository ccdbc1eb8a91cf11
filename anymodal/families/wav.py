"""Sound in WAV files: whole numbers of 8 to 32 bits, and floating-point ones, with any number of channels.

The standard library's `wave` reads neither floating-point numbers nor, before Python 3.12, extensible headers.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs

from anymodal.errors import ValueProblem, cause
from anymodal.files import MAX_BYTES, plain_file

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

MOST = 2**26  # numbers in a file
CHUNKS = 1000  # of a file, at most
UNKNOWN = 0x7FFF0000  # sizes from here on are what programs write that do not know how much will follow
INTEGER, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID = bytes.fromhex("000000001000800000aa00389b71")  # what follows the kind in the header of an extensible file
CONVERT = "convert it, as `ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav` does"


@attrs.frozen
class _Header:
    """The chunk `fmt `: INTEGER or FLOAT, channels, frames a second, bytes of a number."""

    kind: int
    channels: int
    rate: int
    width: int


def is_wav(path: Path) -> bool:
    """Whether the name of a file says that it is a WAV file."""
    return path.suffix.lower() == ".wav"


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """The sound in a WAV file.

    Whole numbers become shares of full scale, in [-1, 1); floating-point ones stay as they are.

    Returns:
        float32 (samples, channels), and samples a second.

    Raises:
        ValueProblem: it is no WAV file, it is damaged, of a kind that is not read here, or larger than MOST numbers.
    """
    size = plain_file(path, MAX_BYTES).stat().st_size
    try:
        with path.open("rb") as file:
            return _sound(file, size, path)
    except OSError as error:
        raise ValueProblem(f"{path} cannot be read: {cause(error)}") from None


def _sound(file: IO[bytes], size: int, path: Path) -> tuple[np.ndarray, int]:
    mark, kind = struct.unpack("4s4x4s", file.read(12).ljust(12, b"\0"))
    if mark in (b"RIFX", b"RF64") and kind == b"WAVE":
        raise ValueProblem(f"{path} is a WAV file of the kind {mark.decode()}, which is not read; {CONVERT}")
    if (mark, kind) != (b"RIFF", b"WAVE"):
        raise ValueProblem(f"{path} is not a WAV file")
    header = None
    for _ in range(CHUNKS):
        start = file.read(8)
        if len(start) < 8:
            break
        name, length = struct.unpack("<4sI", start)
        if name == b"data" and header is not None:
            return _numbers(file, header, size - file.tell(), length, path), header.rate
        if name == b"fmt ":
            content = file.read(min(length, 40))
            header = _header(content, path)
            length -= len(content)
        file.seek(length + length % 2, os.SEEK_CUR)
    raise ValueProblem(f"{path} is damaged: it has no {'sound' if header else 'header'}")


def _header(content: bytes, path: Path) -> _Header:
    if len(content) < 16:
        raise ValueProblem(f"{path} is damaged: its header has {len(content)} bytes")
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", content[:16])
    if kind == EXTENSIBLE and content[26:] == GUID:
        kind = int.from_bytes(content[24:26], "little")
    width = (bits + 7) // 8
    if kind not in (INTEGER, FLOAT) or width not in ((1, 2, 3, 4) if kind == INTEGER else (4, 8)):
        raise ValueProblem(f"{path} holds numbers of {bits} bits in the encoding {kind}, which is not read; {CONVERT}")
    if not channels or not rate or frame != channels * width:
        raise ValueProblem(
            f"{path} is damaged: its header says {channels} channels, {rate} samples a second, {frame} bytes a sample"
        )
    return _Header(kind, channels, rate, width)


def _numbers(file: IO[bytes], header: _Header, there: int, length: int, path: Path) -> np.ndarray:
    """The numbers (samples, channels) in a chunk of `length` bytes, of which so many are there."""
    if length >= UNKNOWN:
        length = there
    if length > there:
        raise ValueProblem(f"{path} is cut short: it has {there} bytes of sound, its header says {length}")
    frame = header.channels * header.width
    if not (frames := length // frame):
        raise ValueProblem(f"{path} holds no sound")
    if frames * header.channels > MOST:
        raise ValueProblem(f"{path} holds {frames * header.channels} numbers, more than the limit of {MOST}; cut it")
    raw = np.frombuffer(file.read(frames * frame), np.uint8)
    return _as_floats(raw.reshape(-1, header.width), header.kind).reshape(frames, header.channels)


def _as_floats(raw: np.ndarray, kind: int) -> np.ndarray:
    """float32 (numbers,) of little-endian numbers (numbers, bytes); those of one byte have no sign."""
    width = raw.shape[1]
    if kind == FLOAT:
        with np.errstate(over="ignore"):  # what float32 does not reach is infinite
            return raw.view(f"<f{width}")[:, 0].astype(np.float32)
    if width == 1:
        return (raw[:, 0].astype(np.float32) - 128) / 128
    whole = np.zeros((len(raw), 4), np.uint8)
    whole[:, 4 - width :] = raw  # the highest bytes
    numbers: np.ndarray = whole.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return numbers
