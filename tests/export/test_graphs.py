"""Single graphs: what is stored in fewer bits, and codes of every kind of codebook, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anymodal.errors import ConfigError
from anymodal.export.check import checked
from anymodal.export.graphs import Draft, lookup, mean_codes, product
from anymodal.export.precision import PRECISIONS, Precision, stored
from anymodal.export.tokenizer import code_tables
from anymodal.export.transformer import transformer_drafts
from anymodal.sessions.manifest import PLACE
from anymodal.sessions.session import Session
from anymodal.testing.tiny import tiny_model
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.diffusion import build
from anymodal.tokenizers.quantizers.config import (
    CosineConfig,
    FSQConfig,
    LFQConfig,
    ProductConfig,
    ResidualConfig,
)

pytest.importorskip("onnx")
SIDE = ViTConfig(dim=8, depth=1, heads=2, patch=4)
QUANTIZERS = [
    CosineConfig(size=16, latent=4),
    ProductConfig(size=8, latent=6, codebooks=3),
    FSQConfig(size=15, latent=4, levels=(3, 5), codebooks=2),
    LFQConfig(size=8, latent=6, codebooks=2),
    ResidualConfig(size=8, latent=4, codebooks=2),
]


def written(draft: Draft, folder, precision: Precision) -> int:
    content = stored(draft.build(), precision).SerializeToString()
    (folder / "one.onnx").write_bytes(content)
    return len(content)


@pytest.mark.parametrize("name", PRECISIONS)
def test_weights_in_fewer_bits_lose_no_more_than_is_allowed(tmp_path, name):
    torch.manual_seed(0)
    # One row is much larger than the others, which must not cost them their bits.
    matrix = torch.randn(64, 96) * torch.tensor([100.0] + [1.0] * 63)[:, None]
    draft = product(matrix, [{"states": torch.randn(b, 3, 64)} for b in (2, 5)])
    precision = PRECISIONS[name]
    size = written(draft, tmp_path, precision)
    assert size < 64 * 96 * precision.bits / 8 + 2000
    graph = checked(draft, tmp_path, "one.onnx", precision)
    assert graph.error <= precision.tolerance
    assert graph.inputs["states"].shape == ("batch", "targets", 64)


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_row_does_not_depend_on_its_batch(tmp_path, name):
    torch.manual_seed(1)
    draft = product(torch.randn(64, 96), [{"states": torch.randn(2, 1, 64)}])
    written(draft, tmp_path, PRECISIONS[name])
    session = Session(tmp_path.joinpath, checked(draft, tmp_path, "one.onnx", PRECISIONS[name]))
    rows = torch.cat([torch.randn(1, 1, 64), 1000 * torch.randn(1, 1, 64)])
    torch.testing.assert_close(session(states=rows)[0][:1], session(states=rows[:1])[0], rtol=1e-5, atol=1e-5)


def test_a_graph_that_is_too_far_from_pytorch_is_refused(tmp_path):
    draft = product(torch.randn(64, 96), [{"states": torch.randn(2, 3, 64)}])
    written(draft, tmp_path, PRECISIONS["int8"])
    with pytest.raises(ConfigError, match=r"one\.onnx is 0\.0\d+ away from PyTorch in logits.*store more bits"):
        checked(draft, tmp_path, "one.onnx", PRECISIONS["float32"])


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda q: type(q).__name__)
def test_codes_are_those_of_the_quantizer(tmp_path, quantizer):
    torch.manual_seed(2)
    config = TokenizerConfig(kind="vit", channels=1, encoder=SIDE, decoder=SIDE, quantizer=quantizer, image_size=8)
    quantize = build(config).eval().quantize
    tables, books = code_tables(build_with(config, quantize)), quantize.codebooks
    ids = torch.randint(quantizer.size, (2, 4 * books))
    shares = torch.rand(2, 4 * books, quantizer.size).softmax(-1)
    shaped = ids.unflatten(1, (-1, books)) if books > 1 else ids
    for draft, wanted in (
        (lookup(tables, [{"ids": ids}, {"ids": ids[:1, :books]}]), quantize.lookup(shaped)),
        (mean_codes(tables, [{"probabilities": shares}]), quantize.mean(shares)),
    ):
        written(draft, tmp_path, PRECISIONS["int8"])  # codes keep all of their bits
        session = Session(tmp_path.joinpath, checked(draft, tmp_path, "one.onnx", PRECISIONS["float32"]))
        torch.testing.assert_close(session(**draft.examples[0])[0], wanted.detach(), rtol=1e-5, atol=1e-6)


def build_with(config: TokenizerConfig, quantize: torch.nn.Module):
    tokenizer = build(config).eval()
    tokenizer.quantize = quantize
    return tokenizer


def test_what_leaves_pytorch_is_refused_in_one_sentence():
    class Leaves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + float(np.mean(x.numpy()))

    draft = Draft(Leaves(), {"x": {0: "batch"}}, {"y": ["batch", 3]}, [{"x": torch.rand(2, 3)}])
    with pytest.raises(ConfigError, match="Leaves cannot be an ONNX graph: "):
        draft.program()


@pytest.mark.parametrize("name", ["../a.onnx", "/a.onnx", "a/../b.onnx", "a.onnx.data", "C:a.onnx", "a//b.onnx", ""])
def test_a_graph_lies_beside_its_manifest(name):
    assert not PLACE.fullmatch(name)
    assert PLACE.fullmatch("tokenizers/rgb/encode-64x64.onnx")


@pytest.mark.parametrize("modality", ["caption", "rgb"])
def test_an_encoder_is_a_graph_with_rows_of_pixels_and_without(modality):
    name, encode = next(transformer_drafts(tiny_model([modality]).transformer))
    assert name == "encode" and len({len(each["ids"]) for each in encode.examples}) == 3
    program = encode.program().module()
    for each in encode.examples:  # of other batches and lengths
        with torch.no_grad():
            found, wanted = program(*each.values()), encode.module(*each.values())
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs)
