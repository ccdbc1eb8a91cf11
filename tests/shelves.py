"""A folder that looks like site-packages, with whatever distributions a test lays into it."""

from __future__ import annotations

import textwrap
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

from anymodal.plugins.registry import Registry

MODALITY = """
from anymodal.hookspecs import hookimpl
from anymodal.modality import Modality
from anymodal.spaces import Stream, TokenSpace


class {name}(Modality):
    '''A modality of a test.'''

    def streams(self):
        return (Stream(self.name, self.name, TokenSpace.grid(16, 2, 2)),)
"""


IMPORTS = MODALITY.partition("class")[0]


class Shelf:
    """A folder that looks like site-packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self,
        distribution: str,
        entries: dict[str, str] | str,
        modules: dict[str, str] | None = None,
        version: str = "1.2",
        requires: str = "anymodal>=0.1",
        metadata: bool = True,
    ) -> Shelf:
        """Lay out one installed distribution."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata:
            fields = (
                f"Name: {distribution}\nVersion: {version}\nSummary: About {distribution}\nRequires-Dist: {requires}"
            )
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{fields}\n")
        lines = entries if isinstance(entries, str) else "\n".join(f"{k} = {v}" for k, v in entries.items())
        (info / "entry_points.txt").write_text(f"[anymodal]\n{lines}\n")
        for module, source in (modules or {}).items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        return self

    def entries(self) -> list[EntryPoint]:
        return [e for d in distributions(path=[str(self.folder)]) for e in d.entry_points if e.group == "anymodal"]

    def registry(self, **environ: str) -> Registry:
        return Registry(self.entries(), environ)
