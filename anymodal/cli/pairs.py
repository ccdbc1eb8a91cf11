"""Words of the form NAME=VALUE on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from anymodal.errors import ConfigError

PAIR = re.compile(r"([a-z][a-z0-9_]*)=(.*)", re.DOTALL)


def pairs(texts: Sequence[str], what: str, example: str = "rgb=photo.jpg") -> dict[str, str]:
    """NAME=VALUE words by name. Raises ConfigError for another form, and for a name that comes twice."""
    found: dict[str, str] = {}
    for text in texts:
        pair = PAIR.fullmatch(text)
        if not pair:
            raise ConfigError(f"{text!r} is not {what} of the form NAME=VALUE, such as {example}")
        if pair[1] in found:
            raise ConfigError(f"{pair[1]} is given twice; give it once")
        found[pair[1]] = pair[2]
    return found


def yaml_pairs(texts: Sequence[str], what: str, example: str) -> dict[str, Any]:
    """As `pairs`, with values that are YAML. Raises ConfigError for one that is none."""
    from anymodal.config.loading import parse_yaml

    found: dict[str, Any] = {}
    for name, text in pairs(texts, what, example).items():
        try:
            found[name] = parse_yaml(text)
        except ConfigError as error:
            raise ConfigError(f"the value of {f'{name}={text}'!r:.80} cannot be read: {error}") from None
    return found
