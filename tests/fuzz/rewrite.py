"""Changes of spelling by format: the file is another one and means what it meant, so the same value must be read."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pyarrow.parquet
import yaml

from fuzz.damage.pictures import as_png, chunks


def png(data: bytes, rng: random.Random) -> bytes:
    """Pixels packed anew, in several chunks, with chunks that say nothing of them."""
    parts = chunks(data)
    packed = zlib.compress(zlib.decompress(b"".join(d for k, d in parts if k == b"IDAT")), rng.randrange(10))
    cut = rng.randrange(1, len(packed))
    pieces = [(b"IDAT", packed[:cut]), (b"IDAT", packed[cut:])] if rng.random() < 0.7 else [(b"IDAT", packed)]
    places = [k for k, (kind, _) in enumerate(parts) if kind == b"IDAT"]
    head, tail = parts[: places[0]], parts[places[-1] + 1 :]
    said = [
        (b"tEXt", b"Comment\0" + b"x" * rng.choice((3, 2000))),
        (b"tIME", bytes([7, 230, 1, 1, 0, 0, 0])),
        (b"prVt", rng.randbytes(9)),
    ]
    return as_png([*head[:1], rng.choice(said), *head[1:], *pieces, *tail])


def jpeg(data: bytes, rng: random.Random) -> bytes:
    note = rng.randbytes(rng.randrange(1, 300))
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + data[2:]


def npy(data: bytes, rng: random.Random) -> bytes:
    """Another order in memory, of bytes, another version of the header."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if rng.random() < 0.5:
        array = np.asfortranarray(array)
    if rng.random() < 0.5:
        array = array.astype(array.dtype.newbyteorder())
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=rng.choice(((1, 0), (2, 0))), allow_pickle=False)
    return file.getvalue()


def npz(data: bytes, rng: random.Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", rng.choice((0, 8))) as new:
        for name in old.namelist():
            new.writestr(name, npy(old.read(name), rng))
    return file.getvalue()


def as_json(data: bytes, rng: random.Random) -> bytes:
    spelled = json.dumps(json.loads(data), indent=rng.choice((None, 0, 3)), ensure_ascii=rng.random() < 0.5)
    return rng.choice((b"", b"\xef\xbb\xbf", b"\n ")) + spelled.encode() + rng.choice((b"", b"\n\n"))


def as_yaml(data: bytes, rng: random.Random) -> bytes:
    value = yaml.safe_load(data)
    return yaml.safe_dump(
        value, default_flow_style=rng.choice((None, True, False)), width=rng.choice((20, 500)), sort_keys=False
    ).encode()


def safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header in another order and spelling."""
    length = int.from_bytes(data[:8], "little")
    items = list(json.loads(data[8 : 8 + length]).items())
    rng.shuffle(items)
    raw = json.dumps(dict(items), indent=rng.choice((None, 1))).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data[8 + length :]


def tar(data: bytes, rng: random.Random) -> bytes:
    """Another dialect, other owners and times."""
    file = io.BytesIO()
    kind = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=file, mode="w", format=kind) as new:
        for member in old:
            member.mtime, member.uid, member.uname = rng.randrange(2**31), rng.randrange(2**15), rng.choice(("", "é"))
            new.addfile(member, old.extractfile(member))
    return file.getvalue()


def parquet(data: bytes, rng: random.Random) -> bytes:
    """Packed in another way, in other groups of rows."""
    file = io.BytesIO()
    compression = rng.choice(("none", "snappy", "gzip", "zstd"))
    size, dictionary = rng.choice((1, 2, 100)), rng.random() < 0.5
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    pyarrow.parquet.write_table(table, file, compression=compression, row_group_size=size, use_dictionary=dictionary)
    return file.getvalue()


BY_ENDING = {
    ".png": png,
    ".jpg": jpeg,
    ".jpeg": jpeg,
    ".npy": npy,
    ".npz": npz,
    ".json": as_json,
    ".yaml": as_yaml,
    ".safetensors": safetensors,
    ".tar": tar,
    ".parquet": parquet,
}


def rewritten(name: str, data: bytes, rng: random.Random) -> bytes | None:
    """The same in another spelling, or None for a format that has one only."""
    change = BY_ENDING.get(name[name.rfind(".") :])
    return change(data, rng) if change else None
