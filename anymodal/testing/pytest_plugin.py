"""Fixtures for the tests of plugins; pytest loads this module wherever anymodal is installed, so it imports nothing.

`registry`, `sample_values`, `tiny_model` and `no_network`; each says what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.modality import Modality
    from anymodal.plugins.registry import Registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that finds nothing installed, in the place of the process's own; `add` puts classes into it."""
    from anymodal.plugins import Registry, use

    with use(Registry([], {})) as isolated:
        yield isolated


@pytest.fixture
def sample_values() -> Callable[..., list[Any]]:
    """A function from a modality (a name, a class or an instance) and a `seed` to a few of its natural values."""

    def values(which: str | type[Modality] | Modality, seed: int = 0) -> list[Any]:
        from anymodal.modality import Modality
        from anymodal.plugins.registry import registry
        from anymodal.testing.tiny import shrunk
        from anymodal.testing.values import examples

        instance = which if isinstance(which, Modality) else shrunk(registry().modality(which))
        return [example.value for example in examples(instance, seed)]

    return values


@pytest.fixture
def tiny_model() -> Callable[..., AnyModel]:
    """A function from modalities to a model over them: two layers, 32 wide, random weights and small tokenizers."""

    def model(*members: str | type[Modality] | Modality, seed: int = 0) -> AnyModel:
        from anymodal.testing.tiny import tiny_model

        return tiny_model(members, seed)

    return model


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections raise an OSError that says so, but for those between processes of this machine (AF_UNIX)."""
    import socket

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise OSError("this test asked for no network, and something connects")

    class Offline(socket.socket):
        def connect(self, address: Any) -> None:
            super().connect(address) if self.family == getattr(socket, "AF_UNIX", None) else refuse()

        def connect_ex(self, address: Any) -> int:
            return super().connect_ex(address) if self.family == getattr(socket, "AF_UNIX", None) else refuse()

    monkeypatch.setattr(socket, "socket", Offline)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
