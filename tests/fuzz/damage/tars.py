"""Members of tars and their headers."""

from __future__ import annotations

import io
import random
import tarfile

from fuzz.damage.arrays import npy
from fuzz.damage.pictures import png
from fuzz.damage.plain import ODD_TEXTS, any_of, plain

NAMES = (
    "../x.png",
    "/x.png",
    "a/../../x.npy",
    "0000.png",
    "0000",
    ".png",
    "",
    "é.png",
    "x" * 150 + ".png",
    "a b.npy",
    "0001.depth.npy",
    "A.PNG",
    "./0000.png",
    "a//b.png",
)


def tar(data: bytes, rng: random.Random) -> bytes:
    """A member changed, renamed, lost, doubled, of another kind; or a field of a header, with a fitting checksum."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [(m, archive.extractfile(m).read() if m.isfile() else b"") for m in archive]  # type: ignore[union-attr]
    except Exception:
        return plain(data, rng)
    if not members:
        return plain(data, rng)
    k, kind = rng.randrange(len(members)), rng.randrange(8)
    entry, content = members[k]
    if kind == 0:
        entry.name = rng.choice(NAMES)
    elif kind == 1:
        entry.type, entry.linkname = (
            rng.choice((b"1", b"2", b"3", b"5", b"6", b"7", b"L", b"S", b"x")),
            rng.choice(NAMES),
        )
    elif kind == 2:
        members[k] = (entry, any_of(png, npy, plain)(content, rng))
    elif kind == 3:
        del members[k]
    elif kind == 4:
        members.insert(rng.randrange(len(members)), members[k])
    elif kind == 5:
        entry.pax_headers = {
            rng.choice(("path", "size", "linkpath", "mtime", "GNU.sparse.map", "hdrcharset")): rng.choice(ODD_TEXTS[2:])
        }
    elif kind == 6:
        return _other_field(data, entry.offset, rng)
    else:
        return plain(data, rng)
    file = io.BytesIO()
    try:
        with tarfile.open(
            fileobj=file, mode="w", format=rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        ) as archive:
            for member, inside in members:
                member.size = len(inside)
                archive.addfile(member, io.BytesIO(inside))
    except Exception:
        return plain(data, rng)
    return file.getvalue()


def _other_field(data: bytes, offset: int, rng: random.Random) -> bytes:
    start, size = rng.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (257, 8), (345, 155)))
    head = bytearray(data[offset : offset + 512])
    head[start : start + size] = rng.choice(
        (
            plain(bytes(head[start : start + size]), rng),
            b"\x80" + rng.randbytes(11),
            b"7" * 11 + b"\0",
            b"-1",
            b"\xff" * 12,
        )
    )[:size].ljust(size, b"\0")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return data[:offset] + bytes(head) + data[offset + 512 :]
