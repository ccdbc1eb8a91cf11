"""Small aligned datasets in every layout, for the tests of what reads them."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = ("red", "green", "blue", "white", "black")


def picture(k: int, width: int = 40, height: int = 32) -> bytes:
    """A PNG whose left half is as bright as its index."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 20 * k % 256
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def samples(count: int) -> dict[str, dict[str, bytes]]:
    """Files by folder and name: pictures, depth in meters, captions."""
    return {
        "rgb": {f"{k:04d}.png": picture(k) for k in range(count)},
        "depth": {f"{k:04d}.npy": npy(np.full((32, 40), 0.1 + 0.05 * k, np.float32)) for k in range(count)},
        "caption": {f"{k:04d}.txt": f"a {COLORS[k % 5]} car".encode() for k in range(count)},
    }


def grids(count: int, crops: int = 3, length: int = 16, codebook: int = 32) -> dict[str, dict[str, bytes]]:
    """Files in the published layout: raw pictures and captions, tokens of depth, and the crops they belong to.

    The ids of crop k of sample i are all (i + k) % codebook.
    """
    boxes = [[0, 4, 32, 32, 0], [0, 0, 32, 20, 1], [8, 8, 16, 16, 0]][:crops]
    whole = samples(count)
    tokens = [np.repeat((i + np.arange(crops))[:, None] % codebook, length, 1) for i in range(count)]
    return {
        "rgb@224": whole["rgb"],
        "caption": whole["caption"],
        "tok_depth@224": {f"{i:04d}.npy": npy(t.astype(np.int16)) for i, t in enumerate(tokens)},
        "crop_settings": {f"{i:04d}.npy": npy(boxes) for i in range(count)},
    }


def as_folder(root: Path, files: Mapping[str, Mapping[str, bytes]]) -> Path:
    for folder, inside in files.items():
        for name, data in inside.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


def as_tars(root: Path, files: Mapping[str, Mapping[str, bytes]], shard: int = 5) -> Path:
    """Shards of so many numbered names."""
    for folder, inside in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        numbers = {name: int(name[:4]) // shard if name[:4].isdecimal() else 0 for name in inside}
        for number in sorted(set(numbers.values())):
            with tarfile.open(root / folder / f"shard-{number:05d}.tar", "w") as tar:
                for name, data in ((n, d) for n, d in inside.items() if numbers[n] == number):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    return root


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on loopback, with listings and byte ranges."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Ranges(SimpleHTTPRequestHandler):
    """Adds single byte ranges to what the standard library serves."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, asked = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        if not asked.startswith("bytes=") or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(data)) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(data[start:stop])


def as_json(text: str) -> dict[str, object]:
    """The one object that a command prints."""
    return json.loads(text)
