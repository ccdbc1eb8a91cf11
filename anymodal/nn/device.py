"""Devices that a user names."""

from __future__ import annotations

import torch

from anymodal.errors import ConfigError, brief, one_line


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
