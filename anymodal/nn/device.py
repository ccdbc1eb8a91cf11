"""Devices that a user names, the type of numbers in which one is fast, and one thread of a processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from anymodal.errors import ConfigError, brief, one_line

if TYPE_CHECKING:
    import torch
else:
    from anymodal.lazy import torch


def usable_device(device: str | torch.device) -> torch.device:
    """The device of that name, on which something was put to see that it is there.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"there is no device {brief(device)} here: {one_line(error, 120)}") from None
    return found


def fast_precision(device: torch.device) -> Literal["bfloat16", "float32"]:
    """The type in which a device multiplies matrices fast: bfloat16 where its hardware does, else float32.

    A GPU of NVIDIA does from compute capability 8.0 on, a CPU with AVX-512 BF16 or AMX. Without them a CPU computes
    bfloat16 element by element, several times slower than float32.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch has no public name for these before 2.11; where they are missing, float32 is always right.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if device.type == "cpu" else ()
        fast = torch.backends.mkldnn.is_available() and any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return "bfloat16" if fast else "float32"


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch compute with one thread in the body, if `wanted`.

    Sums then do not depend on how many processes share a machine, and small networks take less time than threads that
    wait for each other.
    """
    before = torch.get_num_threads()
    try:
        if wanted:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)
