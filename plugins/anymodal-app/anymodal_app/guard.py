"""What reaches the server: only its own addresses, from its own page, and no more bytes than allowed.

A page elsewhere may make a browser send requests here, by a name that is pointed at this machine (DNS rebinding) or by
a form; the headers Host and Origin tell. Of Gradio's addresses those stay that a client needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from anymodal_app.settings import Settings

PATHS = re.compile(
    r"/|/config|/gradio_api/(info|openapi\.json|startup-events|cancel|reset|queue/(join|data)|heartbeat/\w+"
    r"|call/(v2/)?(generate|search)(/\w+)?|mcp(/.*)?)|/about|/files/[\w-]+|/examples/[\w-]+\.(png|jpg)"
    r"|/[\w-]+\.(mjs|css|html|svg|png|webp|ico|json)"
)
SEARCH = re.compile(r"/gradio_api/call/(v2/)?search(/.*)?")
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware that answers what may not pass, and passes the rest on."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope["path"], headers)
        body = b""
        if refused is None and scope["method"] == "POST":
            body, refused = await self._body(headers, receive)
        if refused is not None:
            await _answer(send, *refused)
            return
        await self.app(scope, _again(body, receive) if scope["method"] == "POST" else receive, _with_headers(send))

    def _refused(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """The status and the reason for which a request may not pass; None where it may."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.settings.answers_to(_parts(f"//{host}").hostname or ""):
            return 403, "this server does not answer to that name; use its address, or start it with --name"
        if origin is not None and _parts(origin).netloc != host:
            return 403, "a page of another site may not use this server"
        if not PATHS.fullmatch(path) or (self.settings.index is None and SEARCH.fullmatch(path)):
            return 404, "there is nothing at this address"
        return None

    async def _body(self, headers: dict[str, str], receive: Callable[..., Any]) -> tuple[bytes, tuple[int, str] | None]:
        """The body of a request, read as far as it may be long; and the refusal where it is longer."""
        limits = self.settings.limits
        length = headers.get("content-length", "0")
        too_long = 413, f"the files of a request may have {limits.upload_mb} MB together; make them smaller"
        if not length.isdigit() or int(length) > limits.body:
            return b"", too_long
        parts, size = [], 0
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limits.body:
                return b"", too_long
            if not message.get("more_body", False):
                return b"".join(parts), None


def _parts(address: str) -> SplitResult:
    """The parts of an address, all empty where it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _again(body: bytes, receive: Callable[..., Any]) -> Callable[..., Any]:
    """What gives a body that was read already, and then whatever follows it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Any:
        return waiting.pop() if waiting else await receive()

    return given


def _with_headers(send: Callable[..., Any]) -> Callable[..., Any]:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_encoded(HEADERS)]}
        await send(message)

    return sending


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _answer(send: Callable[..., Any], status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    own = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(HEADERS | own)})
    await send({"type": "http.response.body", "body": body})
