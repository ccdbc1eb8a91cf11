"""`anymodal app`: a local web page to play with a model."""

from __future__ import annotations

import functools
import importlib.util
import signal
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from anymodal.cli import Output, with_output
from anymodal.cli.checks import Known, check_device
from anymodal.cli.model_options import load_options
from anymodal.errors import ConfigError, GenerationError
from anymodal.hookspecs import hookimpl
from anymodal_app.settings import Limits, Settings

DEFAULT = Limits()


# The limit, its option, the most it may be, and what it bounds.
LIMITS = (
    ("upload_mb", "--max-upload", 1024, "Megabytes of all files of a request."),
    ("side", "--max-side", 100_000, "Pixels of the longer side of a picture."),
    ("text", "--max-text", 100_000, "Letters of a text."),
    ("variants", "--max-variants", 16, "Seeds side by side."),
    ("steps", "--max-steps", 10_000, "Steps of a target."),
    ("seconds", "--timeout", 86_400, "Seconds of a generation."),
    ("queue", "--queue", 10_000, "Requests that wait."),
)


@hookimpl
def anymodal_commands(cli: click.Group) -> None:
    cli.add_command(app)


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each of `Limits`, and pass them on as one."""

    @functools.wraps(function)
    def command(*arguments: Any, **given: Any) -> Any:
        return function(*arguments, limits=Limits(**{name: given.pop(name) for name, *_ in LIMITS}), **given)

    made: Callable[..., Any] = command
    for name, option, most, words in reversed(LIMITS):
        kind, default = click.IntRange(1, most), getattr(DEFAULT, name)
        made = click.option(option, name, type=kind, default=default, show_default=True, help=words)(made)
    return made


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to bind; 0.0.0.0 for all networks.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port.  [default: the first free one from 7860 on]")
@click.option("--name", "names", multiple=True, metavar="NAME", help="A further name that browsers may use for it.")
@click.option("--index", type=click.Path(path_type=Path), help="An index to search, of `anymodal retrieve index`.")
@limit_options
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser, or not.")
@load_options
@with_output
def app(
    output: Output,
    host: str,
    port: int | None,
    names: tuple[str, ...],
    index: Path | None,
    limits: Limits,
    opens: bool,
    model: str,
    load: dict[str, Any],
) -> None:
    """Play with a model on a local web page, which has an API and an MCP endpoint too.

    \b
    anymodal app
    anymodal app --model out/run/model --port 8000 --no-open
    anymodal app --index photos-index --host 0.0.0.0 --name workstation.lan
    """
    settings = Settings(model=model, host=host, port=port, index=index, names=names, limits=limits)
    check_device(load.get("device"))
    Known.of(model, load.get("revision"), load.get("modalities"))
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the app needs gradio, which is not installed: pip install 'anymodal[app]'")
    from anymodal_app.server import free_port

    free_port(settings)
    opened = _open_index(index)
    from anymodal import load as load_model

    serve(output, load_model(model, **load), settings, opened, load, opens)


def _open_index(folder: Path | None) -> Any:
    """The index in a folder, or None without one. Raises DataError where there is none."""
    if folder is None:
        return None
    from anymodal import Index

    opened = Index(folder)
    if not opened.by:
        raise GenerationError(f"the vectors of {folder} are of no modality, so that no model can be asked for a query")
    return opened


def serve(output: Output, model: Any, settings: Settings, index: Any, load: dict[str, Any], opens: bool) -> None:
    """Serve until the process is interrupted or ended."""
    from anymodal_app.runs import Studio
    from anymodal_app.server import serving
    from anymodal_app.store import Store

    store, over = Store(), threading.Event()
    told = settings.model if settings.is_local else Path(settings.model).name
    again = {
        key: value for key, value in load.items() if key in ("revision", "dtype", "precision", "modalities", "backend")
    }
    studio = Studio(model=model, name=told, store=store, limits=settings.limits, load=again)
    former = signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        with serving(studio, settings, index) as address:
            output.line(f"serving {told} at {address} (Ctrl+C ends it)")
            output.data({"address": address, "mcp": f"{address}gradio_api/mcp/", "model": told})
            if not settings.is_local:
                output.note(
                    f"note: bound to {settings.host}: everybody who reaches this machine can use the model,"
                    " without a password"
                )
            if opens:
                webbrowser.open(address)
            over.wait()
    finally:
        signal.signal(signal.SIGTERM, former)
        store.close()
