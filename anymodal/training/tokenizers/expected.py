"""Codes that a model expects, in place of those of the values: what a decoder is given when a mean is generated.

A mean of codes is smoother than a code, and neighbors that are guessed apart do not fit each other. A decoder that has
learned from such codes what is true makes of them what is likely.

Shapes: B samples, N tokens, L latent width, K ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel, load
from anymodal.errors import ConfigError, nearest
from anymodal.generation.plan import Target, make_plan
from anymodal.generation.retrieval import EXPECTED
from anymodal.generation.sampler import Sampler
from anymodal.generation.state import SampleState
from anymodal.modality import Modality
from anymodal.outputs.fingerprint import fingerprint
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer
from anymodal.training.tokenizers.config import ExpectedConfig


class ExpectedCodes:
    """What a model expects of the tokens of one modality, from other modalities of the same samples."""

    def __init__(self, model: AnyModel, name: str, given: Sequence[str], share: float) -> None:
        self.model, self.name, self.given, self.share = model, name, tuple(given), share
        self._plan = _mean_plan(model, name, given)

    @property
    def modalities(self) -> list[Modality]:
        """Those that the model is given."""
        return [self.model.modalities[name] for name in self.given]

    def identity(self) -> str:
        """A hash of the weights that the codes depend on."""
        return str(fingerprint(self.model.transformer, self.model.modalities, self.given))

    def draws(self, rng: np.random.Generator) -> bool:
        """Whether a sample gets expected codes."""
        return bool(rng.random() < self.share)

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> Tensor:
        """The codes (B, N, L), float32, of samples of natural values of `given`."""
        modalities = self.model.modalities
        states = [SampleState(modalities.layout, modalities.condition(modalities.accept(s))) for s in samples]
        for _ in Sampler(self.model.transformer).run(states, self._plan, [0] * len(states)):
            pass
        shares_BNK = torch.from_numpy(np.stack([state.streams[self.name].probabilities for state in states]))
        tokenizer: Tokenizer = modalities[self.name].tokenizer
        with torch.no_grad():
            return tokenizer.quantize.mean(shares_BNK)


def _mean_plan(model: AnyModel, name: str, given: Sequence[str]) -> list[Target]:
    """How the model generates a mean: as it is set, if that is one, else at temperature 1."""
    plan = make_plan(model.modalities, [name], set(given), None, None, {})
    if plan[0].sampling.scheme == EXPECTED["scheme"]:
        return plan
    return make_plan(model.modalities, [name], set(given), None, {name: dict(EXPECTED)}, {})


def expected_codes(config: ExpectedConfig, modality: Modality) -> ExpectedCodes:
    """What the model of a configuration expects of a modality, whose tokenizer is the one to be trained.

    Raises:
        ConfigError: the model does not know the modalities or these ids, or the decoder to be trained denoises.
        CheckpointError: the model cannot be read.
    """
    name, tokenizer = modality.name, modality.tokenizer
    if not isinstance(tokenizer, VQTokenizer):
        raise ConfigError("expected belongs to a feed-forward decoder; one that denoises reads no mean of codes")
    model = load(config.model, device="cpu")
    known = [each.name for each in model.modalities]
    if unknown := [each for each in (name, *config.given) if each not in known]:
        raise ConfigError(
            f"expected: {config.model} has no {unknown[0]!r}{nearest(unknown[0], known)}; it has {', '.join(known)}"
        )
    if name in config.given:
        raise ConfigError(f"expected: given names {name!r} itself; name what it is to be expected from")
    own = model.modalities[name].tokenizer
    if own is None or own.fingerprint() != tokenizer.fingerprint():
        raise ConfigError(
            f"expected: the ids of {name!r} in {config.model} are those of another tokenizer than codes names; give the"
            " folder of the tokenizer in that model as codes"
        )
    return ExpectedCodes(model, name, config.given, config.share)
