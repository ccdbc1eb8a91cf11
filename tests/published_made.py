"""Small models as 4M published them: their configurations, and the files of random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.checkpoints.formats.fourm.layout import VOCABULARY as FILE
from anymodal.checkpoints.formats.fourm.model import save_transformer
from anymodal.checkpoints.state import parts
from anymodal.model import Transformer

GRIDS = [f"tok_{name}@224" for name in ("rgb", "normal", "depth", "semseg", "canny_edge")]
SEVEN = ["rgb@224", "caption", "color_palette", *GRIDS]


def config_of(domains: list[str], dim: int = 8, depth: int = 1, targets: list[str] | None = None) -> dict:
    numbers = {"dim": dim, "encoder_depth": depth, "decoder_depth": depth, "num_heads": 2, "mlp_ratio": 4}
    switches = dict.fromkeys(["qkv_bias", "proj_bias", "mlp_bias", "norm_bias", "share_modality_embeddings"], False)
    outputs = [d for d in domains if d != "rgb@224"] if targets is None else targets
    kind = {"act_layer": "SiLU", "gated_mlp": True, "image_size": 224, "patch_size": 16}
    return {"domains_in": domains, "domains_out": outputs, **numbers, **switches, **kind}


def write_model(folder: Path, config: dict) -> Path:
    torch.manual_seed(0)
    save_transformer(Transformer(*parse_model_config(config, "the test")), folder)
    return folder


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    left, right = ({p.name: p.tensor for p in parts(model)} for model in (ours, theirs))
    return left.keys() <= right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def write_words(folder: Path) -> Path:
    """The file of a vocabulary with the ids of 4M's, and made-up words."""
    special = ["[PAD]", "[UNK]", "[SOS]", "[EOS]", *(f"[S_{k}]" for k in range(200))]
    special += [f"v{k}={v}" for k in range(4) for v in range(1000)]
    every = [*special, *("a", "red", "car", "on", "road", "dog")]
    every += [f"w{k}" for k in range(30_000 - len(every))]
    tokenizer = Tokenizer(models.WordPiece({word: k for k, word in enumerate(every)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special[:4]])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False, single_word=True) for t in special[4:]])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    path = folder / FILE
    tokenizer.save(str(path))
    return path
