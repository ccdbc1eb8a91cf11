"""The shape of a teacher's network."""

from __future__ import annotations

import attrs

from anymodal.config.validators import count
from anymodal.errors import ConfigError


@attrs.frozen(kw_only=True)
class TowerConfig:
    """A tower over values of `channels` x `size` x `size`, cut into patches; `embedding` is the width of its vector."""

    channels: int = attrs.field(default=3, validator=count(2**16))
    size: int = attrs.field(default=64, validator=count(2**16))
    patch: int = attrs.field(default=8, validator=count(2**16))
    dim: int = attrs.field(default=64, validator=count(2**16))
    depth: int = attrs.field(default=4, validator=count(2**16))
    heads: int = attrs.field(default=4, validator=count(2**16))
    embedding: int = attrs.field(default=64, validator=count(2**16))

    def __attrs_post_init__(self) -> None:
        if self.size % self.patch:
            raise ConfigError(f"a tower of {self.size} pixels does not split into patches of {self.patch}")
