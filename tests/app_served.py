"""A server of the app in a process of its own, and what its clients say and hear."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import numpy as np
from PIL import Image
from processor_time import patience

from anymodal import Outputs

CHILD = Path(__file__).with_name("app_child.py")


@attrs.frozen
class Served:
    """A server that runs: its address, the folder of what it made, and what it wrote to stderr."""

    address: str
    folder: Path
    log: Path
    client: httpx.Client
    process: subprocess.Popen

    def join(self, request: Any, name: str = "generate") -> tuple[str, str]:
        """Ask for something; the session and the event."""
        session = uuid.uuid4().hex
        asked = {"data": [request], "session_hash": session}
        answer = self.client.post(f"gradio_api/call/{name}", json=asked)
        assert answer.status_code == 200, answer.text
        return session, answer.json()["event_id"]

    def listen(self, session: str) -> Iterator[dict[str, Any]]:
        """Everything that a session hears."""
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def heard(self, session: str) -> list[dict[str, Any]]:
        """The events of a session until it is over."""
        said = [each for each in self.listen(session) if each["msg"] == "process_generating"]
        return [each["output"]["data"][0] for each in said]

    def ask(self, **request: Any) -> list[dict[str, Any]]:
        """The events of a request."""
        return self.heard(self.join(request)[0])

    def outputs(self, done: dict[str, Any], folder: Path) -> dict[int, Outputs]:
        """What can be downloaded after the last event, by seed, unpacked into a folder."""
        content = self.client.get(done["download"]["url"]).content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        return {int(each.name.removeprefix("seed-")): Outputs.load(each) for each in sorted(folder.glob("seed-*"))}

    def closed(self, seed: int) -> int:
        """After how many steps the generation of a seed was closed; waits for that."""
        until = time.monotonic() + patience(20)
        while time.monotonic() < until:
            for line in self.log.read_text().splitlines():
                if line.startswith(f"closed {seed} after "):
                    return int(line.split()[-1])
            time.sleep(0.05)
        raise AssertionError(f"the generation of seed {seed} goes on:\n{self.log.read_text()}")


@contextlib.contextmanager
def served(checkpoint: Path, limits: dict[str, int] | None = None, index: Path | None = None) -> Iterator[Served]:
    """Serve a model at a free port."""
    command = [sys.executable, str(CHILD), str(checkpoint), json.dumps(limits or {}), str(index or "")]
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        with log.open("w") as writing:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing, text=True
            )
            with process:
                try:
                    said = json.loads(process.stdout.readline() or "null")
                    assert said, log.read_text()
                    with httpx.Client(base_url=said["address"], timeout=patience(60), trust_env=False) as client:
                        yield Served(said["address"], Path(said["folder"]), log, client, process)
                finally:
                    process.stdin.close()
                    process.wait(patience(30))
        assert not Path(said["folder"]).exists()


def picture_url(side: int = 48, seed: int = 0, kind: str = "png") -> str:
    """A picture of noise as a data URL."""
    colors = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return url_of(Image.fromarray(colors), kind)


def url_of(picture: Image.Image, kind: str = "png") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_of(url: str) -> np.ndarray:
    """The pixels in a data URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
