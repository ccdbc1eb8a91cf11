"""What loading a plugin must not do to the process: print to stdout, or change what everybody shares.

Output is captured and changes are undone; both are reported, so that a plugin never breaks `--json` or a seed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

from anymodal.plugins.shared_state import ENVIRONMENT, SHARED


@contextlib.contextmanager
def watched(report: Callable[[str, str], object]) -> Iterator[None]:
    """Capture what the body prints, undo what it changes for the process, and `report` each as (message, hint)."""
    before = {what: read() for what, (read, _) in SHARED.items()}
    noise = _Noise()
    try:
        with contextlib.redirect_stdout(noise):
            yield
    finally:
        now = {what: read() for what, (read, _) in SHARED.items()}
        changed = [what for what, value in before.items() if value is not None and now[what] != value]
        for what in changed:
            SHARED[what][1](before[what])
        for what in changed:
            which = _named(what, before[what], now[what])
            report(f"changes {which} while it is loaded (undone)", "change nothing global at import")
        if text := noise.getvalue().strip():
            report(f"prints to stdout while it is loaded: {text.splitlines()[0][:80]!r}", "use the module logging")


def _named(what: str, before: object, now: object) -> str:
    """What was changed; of the environment, which of its variables."""
    if not isinstance(before, dict) or not isinstance(now, dict) or what != ENVIRONMENT:
        return what
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return f"the environment variable {' and '.join(names)}"


class _Noise(io.StringIO):
    """What is printed; it stays readable when the printer closes it."""

    def close(self) -> None:
        pass
