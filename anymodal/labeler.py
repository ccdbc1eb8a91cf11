"""Labelers: natural values of one modality made from natural values of others, exactly or by a network.

A dataset that has photographs only becomes one of many modalities this way. A plugin offers its labelers with the
hook `anymodal_labelers` and an entry point ``labeler-NAME`` each; several may serve one modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import AnymodalError, CheckpointError, ConfigError, PluginError, ValueProblem
from anymodal.modality import NAME, Modality

if TYPE_CHECKING:
    import torch
else:
    from anymodal.lazy import torch

EXTRA = "anymodal[label]"


class Labeler:
    """Makes values of `modality` from values of the modalities in `sources`.

    `checkpoint` is where the weights come from: a Hub repository or a folder; None where there are none. `packages`
    are the import names it needs beyond anymodal's own. A subclass overrides `load` (once, the model) and `label`.
    """

    modality: ClassVar[str] = ""
    sources: ClassVar[tuple[str, ...]] = ("rgb",)
    packages: ClassVar[tuple[str, ...]] = ()
    checkpoint: str | None = None

    def __init__(self, checkpoint: str | Path | None = None, *, device: str | torch.device | None = None) -> None:
        """Load the model, onto the first GPU if there is one and `device` does not say otherwise.

        Raises PluginError when a package is missing, and CheckpointError when the checkpoint cannot be used.
        """
        if checkpoint is not None and type(self).checkpoint is None:
            raise ConfigError(f"the labeler {type(self).__name__} of {self.modality!r} has no weights to load")
        self.checkpoint = type(self).checkpoint if checkpoint is None else str(checkpoint)
        self._device = device
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            needed = f"the labeler {type(self).__name__} of {self.modality!r} needs {' and '.join(missing)}"
            raise PluginError(f"{needed}; pip install '{EXTRA}'")
        try:
            self.load()
        except (AnymodalError, KeyboardInterrupt):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            where = f"cannot load {self.checkpoint!r} to label {self.modality!r}"
            raise CheckpointError(f"{where}: {type(error).__name__}: {reason:.300}") from error

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return torch.device(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @classmethod
    def validate(cls) -> None:
        """Raise PluginError if the class cannot be used; run once when a plugin is loaded."""
        for name in (cls.modality, *cls.sources):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise PluginError(
                    f"labeler {cls.__name__} names the modality {name!r}, which must match [a-z][a-z0-9_]*"
                )
        if cls.label is Labeler.label:
            raise PluginError(f"labeler {cls.__name__} does not override label")

    def load(self) -> None:
        """Load the model named by `self.checkpoint` onto `self.device`; exact labelers have none."""

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        """One natural value of `modality` a sample, each sample a mapping from `sources` to natural values."""
        raise NotImplementedError(f"{type(self).__name__}.label")

    def values(self, samples: Sequence[Mapping[str, Any]], source: str) -> list[Any]:
        """The values of one source. Raises ValueProblem, with its number, for a sample that lacks it."""
        for number, sample in enumerate(samples):
            if source not in sample:
                has = ", ".join(sample) or "nothing"
                raise ValueProblem(f"labelling {self.modality!r} needs {source!r}, and sample {number} has {has}")
        return [sample[source] for sample in samples]


class DerivedLabeler(Labeler):
    """Computes what a modality derives exactly from others: set `derives` to its class, and nothing else."""

    derives: ClassVar[type[Modality]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "derives" in cls.__dict__:
            cls.modality, cls.sources = cls.derives.name, cls.derives.derived_from

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        columns = [self.values(samples, source) for source in self.sources]
        modality = self.derives()
        return [modality.derive(dict(zip(self.sources, row, strict=True))) for row in zip(*columns, strict=True)]
