"""What values depend on: the weights of a model, and of the tokenizers between its ids and the values that are used.

The ids that a modality is read as depend on the encoder and the codebook of its tokenizer, the values that are made on
the codebook and the decoder, and texts on the vocabulary. Each has a hash of its own, so that what is another can be
named, and what was written before a part was known is compared by the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from anymodal.model import Transformer
    from anymodal.tokens import ModalitySet

NUMBERS = 16  # of each tensor that is looked at
VOCABULARY = "vocabulary"
ENCODING, DECODING = ("encoder.", "quant_proj."), ("decoder.", "post_quant_proj.")  # what one way alone needs


@attrs.frozen
class Fingerprint:
    """Hashes of 32 letters: of a Transformer, and of what modalities need as they are used.

    modalities: by "depth.encoder", "depth.decoder" and "vocabulary"; those of files from before they were kept lack it.
    """

    transformer: str = attrs.field(default="", metadata={"short": True})
    modalities: dict[str, str] = attrs.field(factory=dict)

    def difference(self, other: Fingerprint) -> str:
        """Which parts that both know are others, in words; "" where none is."""
        mine, theirs = ({"transformer": each.transformer, **each.modalities} for each in (self, other))
        both = {name: (own, theirs.get(name, "")) for name, own in mine.items()}
        return ", ".join(name for name, (own, found) in both.items() if "" not in (own, found) and own != found)


def fingerprint(
    transformer: Transformer,
    modalities: ModalitySet,
    reads: Iterable[str] = (),
    makes: Iterable[str] = (),
    keeps: Iterable[str] = (),
) -> Fingerprint:
    """The fingerprint of a model, and of modalities as they are used.

    Args:
        transformer: of the model.
        modalities: those of the model.
        reads: modalities whose values the model is given; where it takes pixels or vectors, no tokenizer is needed.
        makes: modalities or streams whose ids become values.
        keeps: modalities whose values become ids even so, as parts of what is made.
    """
    found, texts = dict[str, str](), False
    coded = [*(name for name in reads if _is_read_as_ids(modalities, name)), *keeps]
    for names, part, others in ((coded, "encoder", DECODING), (makes, "decoder", ENCODING)):
        for modality in map(modalities.owner, names):
            spaces = [stream.space for stream in modalities.streams(modality.name)]
            texts = texts or any(getattr(space, "vocabulary", None) for space in spaces)
            if modality.tokenizer is not None:
                found[f"{modality.name}.{part}"] = _of_tokenizer(modality.tokenizer, others)
    if texts and modalities.vocabulary is not None:
        found[VOCABULARY] = modalities.vocabulary.fingerprint
    return Fingerprint(hash_of(transformer.state_dict(keep_vars=True)), found)


def _is_read_as_ids(modalities: ModalitySet, name: str) -> bool:
    streams = modalities.input_streams(modalities.owner(name).name)
    return not all(modalities.layout[stream].is_dense for stream in streams)


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """32 letters that differ for other weights: the hash of names, shapes and 16 numbers spread over each tensor.

    The numbers are read each time: of a tensor that was written through `.data` or NumPy no counter would tell.
    """
    import torch

    with torch.no_grad():
        samples = [_sample(tensor) for tensor in tensors.values()]
        if len({sample.dtype for sample in samples}) > 1:  # of which `cat` would make one that is too narrow
            samples = [sample.double() for sample in samples]
        numbers = torch.cat(samples).double().cpu().numpy().tobytes() if samples else b""
    heads = "".join(f"{name} {tuple(tensor.shape)} {tensor.dtype};" for name, tensor in tensors.items())
    return hashlib.sha256(heads.encode() + numbers).hexdigest()[:32]


def _sample(tensor: Tensor) -> Tensor:
    """Each n-th number of a tensor in its order, at most one more than `NUMBERS`."""
    count = tensor.numel()
    step = max(1, count // NUMBERS)
    return tensor.contiguous().as_strided((min(NUMBERS + 1, -(-count // step)),), (step,))


def _of_tokenizer(tokenizer: Any, others: tuple[str, ...]) -> str:
    """The hash of a tokenizer without what the other way alone needs; of one that has no weights, of what it says."""
    if not hasattr(tokenizer, "state_dict"):
        return hashlib.sha256(str(tokenizer.fingerprint()).encode()).hexdigest()[:32]
    weights = tokenizer.state_dict(keep_vars=True)  # without a new tensor for each of them
    return hash_of({name: each for name, each in weights.items() if not name.startswith(others)})
