"""The server: a static page, a few addresses of our own, and Gradio's queue, API and MCP endpoint."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anymodal.errors import ConfigError, cause
from anymodal_app.about import about, example_file
from anymodal_app.guard import Guard
from anymodal_app.requests import Asked
from anymodal_app.runs import Event, Studio
from anymodal_app.search import Wanted, found
from anymodal_app.settings import FIRST_PORT, PORTS, Settings

PAGE = Path(__file__).parent / "page"
STATES = 16  # of sessions, which Gradio keeps though the endpoints have none
TRIES = 5  # to take a free port before another process does
SESSIONS = 4  # for each place in the queue, whose messages wait for whoever asked and did not listen
TYPES = {
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".json": "application/json",
}
QUIET = {  # of Gradio: nothing is sent anywhere, and nothing piles up with the requests
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def free_port(settings: Settings) -> int:
    """The port to bind: the one that is asked for, or the first free one. Raises ConfigError where there is none."""
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if settings.port is None else [settings.port]
    for port in ports:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((settings.host, port))
            except OSError as error:
                reason = cause(error)
                if settings.port is None and "in use" in reason:
                    continue
                raise ConfigError(
                    f"cannot serve at {settings.host} on port {port}: {reason}; choose another with --host or --port"
                ) from None
            return int(trial.getsockname()[1])
    raise ConfigError(f"the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all in use; choose another with --port")


@contextlib.contextmanager
def serving(studio: Studio, settings: Settings, index: Any = None) -> Iterator[str]:
    """Serve a model while the body runs, which gets the address."""
    free_port(settings)
    _prepare(studio.store.folder)
    import gradio

    server: Any = gradio.Server(title="anymodal", docs_url=None, redoc_url=None, openapi_url=None)
    _add_routes(server, studio, settings)
    _add_endpoints(server, studio, index)
    server.add_middleware(Guard, settings=settings)
    address = _launched(server, settings)
    blocks = server.get_blocks()
    blocks._queue.max_size = settings.limits.queue
    blocks._queue.pending_messages_per_session.max_size = SESSIONS * settings.limits.queue
    try:
        yield address
    finally:
        blocks.close(verbose=False)


def _launched(server: Any, settings: Settings) -> str:
    """Where the server listens; another process may take a free port first. Raises ConfigError."""
    launch = partial(
        server.launch,
        server_name=f"[{settings.host}]" if ":" in settings.host else settings.host,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        inline=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=True,
        enable_monitoring=False,
        footer_links=[],
        state_session_capacity=STATES,
        max_file_size=settings.limits.body,
        _frontend=False,
    )
    for _ in range(TRIES):
        port = free_port(settings)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
            return str(launch(server_port=port)[1])
    raise ConfigError(f"cannot serve at {settings.host}: each free port was taken at once; choose one with --port")


def _prepare(folder: Path) -> None:
    """Set what Gradio reads from the environment when it is imported."""
    os.environ.update(QUIET, GRADIO_TEMP_DIR=str(folder / "gradio"))
    for name in ("NO_PROXY", "no_proxy"):  # its first request to itself would go through a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name, ""), "localhost,127.0.0.1,::1"]))
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _add_endpoints(server: Any, studio: Studio, index: Any) -> None:
    def generate(request: Asked) -> Iterator[Event]:
        """Generate modalities from others: pictures, depth, captions, boxes and more, step by step.

        The last event has 'values' with what was made, 'download' with all files, and the same as Python and command.

        Args:
            request: 'inputs' by modality (text, {'data': a data URL, 'name': 'photo.jpg'}, boxes, or {'file': id}),
                'targets' (names of modalities), and if need be 'seed', 'variants', 'options', 'weights', 'keep',
                'uncertainty'. GET /about names the modalities.
        """
        yield from studio.events(request)

    def search(request: Wanted) -> Event:
        """Find what is nearest to inputs in the index that the server was started with.

        Args:
            request: 'inputs' as for generate, and 'count', how many are wanted.
        """
        return found(studio, index, request)

    server.api(generate, name="generate", concurrency_limit=1, concurrency_id="model")
    if index is not None:
        server.api(search, name="search", concurrency_limit=1, concurrency_id="model")


def _add_routes(server: Any, studio: Studio, settings: Settings) -> None:
    from fastapi import Response
    from fastapi.responses import FileResponse, JSONResponse

    facts = about(studio.model, studio.name, settings)
    files = {path.name: path for path in PAGE.glob("*") if path.suffix in TYPES}
    nothing = JSONResponse({"detail": "there is nothing at this address"}, 404)

    def of_page(path: Path) -> Response:
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    @server.get("/about")
    def told() -> Response:
        return JSONResponse(facts)

    @server.get("/files/{key}")
    def kept(key: str) -> Response:
        found = studio.store.find(key)
        if found is None:
            return JSONResponse({"detail": "this file is no longer kept; make it again"}, 404)
        return FileResponse(found.path, filename=found.name, media_type="application/octet-stream")

    @server.get("/examples/{name}")
    def example(name: str) -> Response:
        content = example_file(name)
        return nothing if content is None else Response(content, media_type=TYPES[Path(name).suffix])

    @server.api_route("/", methods=["GET", "HEAD"])
    def page() -> Response:
        return of_page(files["index.html"]) if "index.html" in files else nothing

    @server.get("/{name}.{suffix}")
    def part(name: str, suffix: str) -> Response:
        path = files.get(f"{name}.{suffix}")
        return nothing if path is None else of_page(path)
