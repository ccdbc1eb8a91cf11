"""`anymodal doctor`: what is installed, what works and what does not; exit code 1 when something does not."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import attrs
import click

import anymodal
from anymodal.cli.models import status
from anymodal.cli.output import Output, with_output
from anymodal.modality import API
from anymodal.plugins.isolated import probed
from anymodal.plugins.registry import registry

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "tokenizers", "huggingface-hub")


@click.command()
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60, show_default=True, help="Seconds a plugin.")
@with_output
@click.pass_context
def doctor(context: click.Context, output: Output, timeout: float) -> None:
    """Say what is installed, what works and what does not; load every plugin, in another process.

    \b
    anymodal doctor
    anymodal doctor --json --timeout 10
    """
    plugins = registry()
    candidates = list(plugins.catalog.usable.values())
    with ThreadPoolExecutor(max_workers=1) as pool:  # the child loads plugins while this process loads torch
        loading = pool.submit(probed, candidates, timeout)
        machine = machine_facts()
        findings = loading.result()
    found = [problem for finding in findings for problem in finding.problems]
    problems = [*plugins.catalog.problems, *(p for p in found if p.stage not in ("metadata", "conflict"))]
    presets = [
        {"preset": candidate.provides, "where": finding.place, "status": status(finding.place)}
        for candidate, finding in zip(candidates, findings, strict=True)
        if finding.place
    ]
    output.table(["", "anymodal"], machine.items())
    suspects = {(p.plugin, p.distribution) for p in problems}
    rows = [
        (c.name, c.distribution, c.version, "problem" if (c.name, c.distribution) in suspects else "ok")
        for c in plugins.catalog.usable.values()
    ]
    output.table(["plugin", "distribution", "version", "status"], rows)
    output.table(["preset", "where", "status"], [tuple(preset.values()) for preset in presets])
    for problem in problems:
        output.line(f"problem: {problem}")
    keys = ("name", "distribution", "version", "status")
    output.data(
        {
            "machine": machine,
            "plugins": [dict(zip(keys, row, strict=True)) for row in rows],
            "presets": presets,
            "problems": [attrs.asdict(problem) for problem in problems],
        }
    )
    if not problems:
        output.next("anymodal samples copy")
    context.exit(1 if problems else 0)


def machine_facts() -> dict[str, Any]:
    """Versions, the device that torch would use, and the cores of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "anymodal": anymodal.__version__,
        "plugin API": ".".join(map(str, API)),
        "python": platform.python_version(),
        **{package: installed(package) for package in PACKAGES},
        "device": device(),
        "cores": cores,
        "platform": platform.platform(),
    }


def installed(package: str) -> str:
    """The version of a distribution, or ``missing``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def device() -> str:
    """The device that torch would use, or why there is none."""
    try:
        import torch
    except Exception as error:
        return f"none: torch does not import ({type(error).__name__}: {error})"
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "mps" if torch.backends.mps.is_available() else "cpu"
