"""Small parts with random weights: tokenizers, a vocabulary, a companion modality, and models two layers deep."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from anymodal.families import ImageModality, SignalModality, image
from anymodal.modality import Modality
from anymodal.plugins.registry import registry

if TYPE_CHECKING:
    import torch

    from anymodal.anymodel import AnyModel
    from anymodal.text import Vocabulary
    from anymodal.tokens import ModalitySet
else:
    from anymodal.lazy import torch

NUMBERS = {"size": 32, "patch": 8, "codebook": 32, "latent": 8, "channels": 8, "codebooks": 4}
COMPANION = "companion"
WORDS = "a red car on a road; a blue cup, 3 people and the dog: person chair left & right <b> der die das, xyz jq"


@functools.cache
def vocabulary() -> Vocabulary:
    """Word pieces of a few words and of every letter, and value tokens up to 999."""
    from anymodal.text import Vocabulary

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"  # alone, and inside a word
    return Vocabulary.train([WORDS, " ".join(letters), f"x{letters}"] * 4, size=4400, bins=1000, sentinels=16)


def shrunk(modality: type[Modality] | Modality, length: int | None = None) -> Any:
    """An instance without weights, small where its settings allow it; sequences of at most `length` tokens."""
    cls = modality if isinstance(modality, type) else type(modality)
    own = {} if isinstance(modality, type) else modality.config()
    grid = {"patch", "codebooks"} & set(cls.settings)
    small: dict[str, Any] = {k: v for k, v in NUMBERS.items() if grid and k in cls.settings}
    if "patch" in cls.settings:
        small.pop("codebooks", None)
    if "latent" in cls.settings:
        small["latent"] = 8 if "codebooks" in cls.settings or grid else 64
    if issubclass(cls, SignalModality):  # short, and with all of its rows
        small |= {"shape": (*cls.shape[:-1], min(cls.shape[-1], 6 * cls.cell[-1])), "codebook": 32, "latent": 8}
    if length and "length" in cls.settings:
        small["length"] = min(length, getattr(cls, "length", length))
    if "width" in cls.settings:
        small["width"] = 32
    return cls(**(own | small))


def equip(modality: Any, seed: int = 0) -> Any:
    """Give an instance a small tokenizer of random weights and a vocabulary, where it needs them."""
    if modality.spelled:
        modality.vocabulary = vocabulary()
    if modality.has_tokenizer:
        from anymodal.tokenizers.config import plain_config
        from anymodal.tokenizers.diffusion import build

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            modality.tokenizer = build(plain_config(modality, width=32)).eval()
    return modality


def companion() -> ImageModality:
    """Another modality for models to have beside the one in question: gray pictures of 32 pixels."""
    settings = {"size": 32, "patch": 8, "codebook": 32, "latent": 8}
    made: ImageModality = equip(image(COMPANION, channels=1)(**settings), seed=1)
    return made


def tiny_set(members: Iterable[str | type[Modality] | Modality]) -> ModalitySet:
    """A set of modalities at 32 pixels and 48 tokens, with small random tokenizers and a common vocabulary."""
    from anymodal.tokens import ModalitySet

    instances = []
    for member in members:
        found = member if isinstance(member, Modality) else registry().modality(member)
        instances.append(equip(shrunk(found, length=48)))
    return ModalitySet(instances, vocabulary())


def tiny_model(members: Iterable[str | type[Modality] | Modality], seed: int = 0) -> AnyModel:
    """A model over a set, two layers deep and 32 wide, with random weights drawn from a seed."""
    return model_over(tiny_set(members), seed)


def model_over(modalities: ModalitySet, seed: int = 0) -> AnyModel:
    """A model as `tiny_model` makes it, over modalities that are ready."""
    from anymodal.anymodel import AnyModel
    from anymodal.model import ModelConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ModelConfig(dim=32, encoder_depth=2, decoder_depth=2, heads=2)
        return AnyModel(modalities, config)
