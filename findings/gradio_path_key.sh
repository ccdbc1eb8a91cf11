#!/bin/sh
# gradio 6.31.0 with gradio_client 2.7.2: a plain dict with a key "path" that an API endpoint returns never arrives. The client
# takes every such dict for a file of the server and asks for it, and where the endpoint is a generator an HTTPStatusError object
# stands in the list of its outputs, in the place of the value.
#
# Seen:
#   {'file': 'a/b.txt', 'size': 3} arrives
#   {'path': 'a/b.txt', 'size': 3} becomes HTTPStatusError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile gradio==6.31.0 gradio_client==2.7.2
cd "$work"
GRADIO_ANALYTICS_ENABLED=False "$work/venv/bin/python" -W ignore - <<'PYTHON'
from collections.abc import Iterator
from typing import Any

from gradio import Server
from gradio_client import Client

server = Server()


def listed(key: str) -> Iterator[dict[str, Any]]:
    yield {key: "a/b.txt", "size": 3}
    yield {"done": True}


server.api(listed, name="listed")
_, address, _ = server.launch(prevent_thread_lock=True, quiet=True, share=False)
client = Client(address, verbose=False)
plain, file = (list(client.submit(key, api_name="/listed"))[0] for key in ("file", "path"))
print(plain, "arrives")
print({"path": "a/b.txt", "size": 3}, "becomes", type(file[0] if isinstance(file, list) else file).__name__)
assert plain == {"file": "a/b.txt", "size": 3} and file != {"path": "a/b.txt", "size": 3}
PYTHON
