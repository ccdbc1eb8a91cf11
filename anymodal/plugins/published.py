"""The directory of plugins that the documentation publishes: a JSON file of what their metadata says.

ANYMODAL_DIRECTORY names another one, an address or a file. It is data of strangers: bounded, and shown, never run.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from anymodal.errors import PluginError, cause
from anymodal.files import parse_json, read_text
from anymodal.plugins.described import Described, read

ADDRESS = "https://anymodal.github.io/anymodal/plugins.json"
VARIABLE = "ANYMODAL_DIRECTORY"
LARGEST = 4 << 20  # bytes
SECONDS = 10.0


def published(place: str | None = None) -> list[Described]:
    """The plugins of the directory. Raises PluginError where it cannot be read."""
    place = place or os.environ.get(VARIABLE) or ADDRESS
    content = parse_json(_fetched(place) if "://" in place else read_text(Path(place)), place)
    listed = content.get("plugins") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise PluginError(f"{place} is no directory of plugins: it has no list `plugins`")
    return [each for each in (read(facts) for facts in listed if isinstance(facts, dict)) if each.name]


def as_json(plugins: Iterable[Described]) -> dict[str, Any]:
    """What `published` reads, to be written as JSON."""
    return {"plugins": [attrs.asdict(plugin) for plugin in plugins]}


def _fetched(address: str) -> str:
    if not address.startswith(("https://", "http://")):
        raise PluginError(f"{VARIABLE} is {address!r}, neither an address of the web nor a file")
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            data = answer.read(LARGEST + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        said = cause(reason) if isinstance(reason, BaseException) else str(reason)
        raise PluginError(f"the directory of plugins at {address} cannot be read: {said}") from None
    if len(data) > LARGEST:
        raise PluginError(f"{address} has more than {LARGEST} bytes, too many for a directory of plugins")
    return bytes(data).decode("utf-8", "replace")
