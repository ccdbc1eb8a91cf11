"""Changes by format. Each takes the content of a file and a source of chance, and gives another content.

What cannot be taken apart (an earlier change broke it) is changed as plain bytes.
"""

from __future__ import annotations

import random

from fuzz.damage.arrays import npy, npz
from fuzz.damage.pictures import jpeg, png, tiff
from fuzz.damage.plain import ODD_TEXTS, Change, plain
from fuzz.damage.tables import packed, parquet
from fuzz.damage.tars import tar
from fuzz.damage.trees import as_json, as_yaml, lines, safetensors


def text(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    if rng.random() < 0.5:
        return plain(data, rng)
    odd = rng.choice(ODD_TEXTS)
    many = rng.choice((1, 1, 3, 1000 if len(odd) < 100 else 20))
    return data[:at] + odd.encode("utf-8", "surrogatepass") * many + data[at:]


BY_ENDING: dict[str, Change] = {
    ".png": png,
    ".jpg": jpeg,
    ".jpeg": jpeg,
    ".tif": tiff,
    ".tiff": tiff,
    ".npy": npy,
    ".npz": npz,
    ".json": as_json,
    ".jsonl": lines,
    ".yaml": as_yaml,
    ".safetensors": safetensors,
    ".tar": tar,
    ".gz": packed,
    ".parquet": parquet,
    ".txt": text,
}


def damaged(name: str, data: bytes, rng: random.Random) -> bytes:
    """The content of a file after one to four changes, most of them of its own format."""
    own = BY_ENDING.get(name[name.rfind(".") :], plain)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = (own if rng.random() < 0.75 else plain)(data, rng)
    return data
