"""Codes that a model expects, in place of those of the values: what a decoder is given when the model generates.

A mean of codes is smoother than a code, and neighbors that are guessed apart do not fit each other. A decoder that has
learned from such codes what is true makes of them what is likely.

Shapes: B samples, N tokens, L latent width, K ids, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel, load
from anymodal.errors import ConfigError, nearest
from anymodal.generation.plan import Target, make_plan
from anymodal.generation.retrieval import EXPECTED
from anymodal.generation.sampler import Sampler
from anymodal.generation.state import SampleState, StreamTokens
from anymodal.modality import Modality
from anymodal.outputs.fingerprint import fingerprint
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer
from anymodal.training.tokenizers.config import ExpectedConfig

ONE_DRAW = {"scheme": "roar", "steps": 1, "temperature": 1.0, "top_k": 0, "top_p": 0.0, "min_p": 0.0, "guidance": 1.0}
ONE_DRAW |= {"anneal": "constant", "samples": 1}


@attrs.frozen(eq=False)
class Sample:
    """What the model is given of a sample, by modality, and the seed of what is drawn for it."""

    values: Mapping[str, Any]
    seed: int


class ExpectedCodes:
    """What a model expects of the tokens of one modality, from other modalities of the same samples."""

    def __init__(self, model: AnyModel, name: str, config: ExpectedConfig) -> None:
        self.model, self.name, self.config = model, name, config
        self.tokenizer: Tokenizer = model.modalities[name].tokenizer
        self._plan = _plan(model, name, config)

    @property
    def modalities(self) -> list[Modality]:
        """Those that the model is given."""
        return [self.model.modalities[name] for name in self.config.given]

    def identity(self) -> str:
        """A hash of the weights that the codes depend on."""
        return str(fingerprint(self.model.transformer, self.model.modalities, self.config.given))

    def sample(self, values: Mapping[str, Any], rng: np.random.Generator) -> Sample | None:
        """What the model is given of a sample; None for one that keeps its own codes, or lacks what is to be given."""
        chosen, seed = rng.random() < self.config.share, int(rng.integers(2**32))
        if not chosen or not all(name in values for name in self.config.given):
            return None
        return Sample({name: values[name] for name in self.config.given}, seed)

    def __call__(self, samples: Sequence[Sample], rows: Tensor) -> Tensor:
        """The codes (B, N, L), float32, of samples; `rows` (B, C, H, W) are what the tokenizer reads of them."""
        modalities, config = self.model.modalities, self.config
        known: list[dict[str, Any]] = [modalities.condition(modalities.accept(sample.values)) for sample in samples]
        if config.drawn:
            ids_BN = self.tokenizer.encode(rows).cpu().numpy()
            kept = [_kept(ids, config.drawn, s.seed) for ids, s in zip(ids_BN, samples, strict=True)]
            known = [{**each, self.name: tokens} for each, tokens in zip(known, kept, strict=True)]
        states = [SampleState(modalities.layout, each) for each in known]
        for _ in Sampler(self.model.transformer).run(states, self._plan, [sample.seed for sample in samples]):
            pass
        made = [state.streams[self.name] for state in states]
        with torch.no_grad():
            if config.drawn:
                return self.tokenizer.quantize.lookup(torch.from_numpy(np.stack([tokens.values for tokens in made])))
            shares = [tokens.probabilities for tokens in made if tokens.probabilities is not None]
            return self.tokenizer.quantize.mean(torch.from_numpy(np.stack(shares)))


def _kept(ids_N: np.ndarray, most: float, seed: int) -> StreamTokens:
    """The ids that stay where a random share of them, up to `most`, is lost."""
    rng = np.random.default_rng(seed)
    lost = round(rng.random() * most * len(ids_N))
    stay = np.sort(rng.permutation(len(ids_N))[lost:])
    return StreamTokens(ids_N[stay], stay)


def _plan(model: AnyModel, name: str, config: ExpectedConfig) -> list[Target]:
    """All that is not known drawn in one step, or a mean: as the model is set, if that is one, else as for vectors."""

    def plan(options: Mapping[str, Any] | None) -> list[Target]:
        return make_plan(model.modalities, [name], set(config.given), None, options and {name: options}, {})

    if config.drawn:
        return plan(ONE_DRAW)
    usual = plan(None)
    return usual if usual[0].sampling.scheme.name == EXPECTED["scheme"] else plan(dict(EXPECTED))


def expected_codes(config: ExpectedConfig, modality: Modality, sizes: Sequence[int] = ()) -> ExpectedCodes:
    """What the model of a configuration expects of a modality, whose tokenizer is the one to be trained.

    Args:
        config: of the model.
        modality: with the tokenizer.
        sizes: those in pixels at which it is trained, where that is not the modality's own.

    Raises:
        ConfigError: the model does not know the modalities or these ids, it makes them at another size, or the decoder
            to be trained denoises.
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
    made = model.modalities[name].sizes[:1]
    if made and (other := [size for size in sizes or modality.sizes[:1] if size not in made]):
        raise ConfigError(
            f"expected: {config.model} makes {name!r} of {made[0]} pixels a side, and the decoder is to learn from"
            f" {other[0]}: leave out sizes, or give settings.size {made[0]}"
        )
    return ExpectedCodes(model, name, config)
