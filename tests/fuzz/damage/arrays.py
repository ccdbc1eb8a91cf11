"""Headers of .npy, members of .npz."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile

from fuzz.damage.plain import any_of, plain

TYPES = (
    "<f4",
    ">f4",
    "<f8",
    "<f2",
    "|u1",
    "|i1",
    "<u2",
    ">u2",
    "<i4",
    "<i8",
    ">i8",
    "|b1",
    "|O",
    "<c8",
    "<U4",
    "|S3",
    "<M8[s]",
    "|V8",
)
SIDES = (0, 1, 2, 3, 16, 33, 1000, 65536, 2**31, 2**62, -1)


def npy(data: bytes, rng: random.Random) -> bytes:
    """Another header; the numbers stay."""
    if not data.startswith(b"\x93NUMPY") or len(data) < 12:
        return plain(data, rng)
    end = 10 + int.from_bytes(data[8:10], "little")
    header = data[10:end].decode("latin1")
    kind = rng.randrange(5)
    if kind == 0:
        header = re.sub(r"'descr': '[^']*'", f"'descr': {rng.choice(TYPES)!r}", header)
    elif kind == 1:
        shape = tuple(rng.choice(SIDES) for _ in range(rng.choice((0, 1, 2, 3, 4, 33))))
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {shape}", header)
    elif kind == 2:
        header = header.replace("False", "True") if "False" in header else header.replace("True", "False")
    elif kind == 3:
        header = plain(header.encode("latin1", "replace"), rng).decode("latin1")
    else:
        return data[:6] + bytes([rng.randrange(4), rng.randrange(2)]) + data[8:]
    raw = header.encode("latin1", "replace")
    return data[:8] + struct.pack("<H", len(raw) % 65536) + raw + data[end:]


def npz(data: bytes, rng: random.Random) -> bytes:
    """A member changed, renamed, doubled or lost, in an archive that fits."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:
        return plain(data, rng)
    k = rng.randrange(len(members)) if members else 0
    kind = rng.randrange(5)
    if kind == 0 and members:
        members[k] = (members[k][0], any_of(npy, plain)(members[k][1], rng))
    elif kind == 1 and members:
        members[k] = (rng.choice(("../a.npy", "a", "/a.npy", "a/", "ids.npy", "é.npy", "x" * 300)), members[k][1])
    elif kind == 2 and members:
        del members[k]
    elif kind == 3 and members:
        members.append((f"{k}.npy", members[k][1]))
    else:
        return plain(data, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()
