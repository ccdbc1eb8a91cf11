"""Tokenizers: shapes, ids, training, saving, and agreement with closed-form values of the published models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.checkpoints import InMemory
from recordings import SMALL
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from anymodal.checkpoints.formats.fourm.tokenizer_config import parse_tokenizer_config
from anymodal.checkpoints.formats.fourm.tokenizers import tokenizer_in, tokenizer_keys
from anymodal.config import structure
from anymodal.errors import ConfigError, SpaceError, ValueProblem
from anymodal.tokenizers.config import MLPConfig, OverlapConfig, TokenizerConfig, ViTConfig
from anymodal.tokenizers.diffusion import tokenizer_on_meta
from anymodal.tokenizers.losses import LOSSES
from anymodal.tokenizers.networks.vit import attend, patchify, position_table, unpatchify
from anymodal.tokenizers.quantizers.config import QUANTIZERS, CosineConfig, ProductConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.log import read_log
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.run import fit_tokenizer

VIT = ViTConfig(dim=16, depth=1, heads=2, patch=8)
FEATURES = attrs.evolve(VIT, patch_projection=False)
COSINE = CosineConfig(size=32, latent=8)
PRODUCT = ProductConfig(size=32, latent=8, codebooks=4)

CONFIGS = {
    "image": TokenizerConfig("vit", 3, VIT, VIT, COSINE, image_size=32, refine=True),
    "joined": TokenizerConfig("vit", 3, VIT, VIT, COSINE, image_size=32, overlap=OverlapConfig((6, 4))),
    "labels": TokenizerConfig("vit", 4, VIT, VIT, COSINE, image_size=32, labels=7),
    "features": TokenizerConfig("vit", 5, FEATURES, FEATURES, COSINE, image_size=32),
    "vector": TokenizerConfig(
        "mlp", 6, MLPConfig(16, 1), MLPConfig(16, 1), ProductConfig(size=32, latent=8, codebooks=4)
    ),
}
SHAPES = {"image": (3, 24, 40), "joined": (3, 24, 40), "labels": (24, 40), "features": (5, 3, 5), "vector": (6,)}
GRIDS = {"image": (3, 5), "joined": (3, 5), "labels": (3, 5), "features": (3, 5), "vector": None}


def build(name: str, seed: int = 0) -> VQTokenizer:
    torch.manual_seed(seed)
    return VQTokenizer(CONFIGS[name]).eval()


def example(name: str, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if name == "labels":
        return torch.randint(7, (batch, *SHAPES[name]), generator=generator)
    return torch.randn(batch, *SHAPES[name], generator=generator)


@pytest.mark.parametrize("name", CONFIGS)
class TestEveryKind:
    def test_shapes_and_range(self, name: str) -> None:
        tokenizer, x = build(name), example(name)
        ids = tokenizer.encode(x)
        assert ids.dtype == torch.int64
        assert ids.shape == (2, 4 if name == "vector" else 15)
        assert ids.min() >= 0 and ids.max() < 32
        output = tokenizer.decode(ids, GRIDS[name])
        assert output.shape == ((2, 7, 24, 40) if name == "labels" else x.shape)
        assert output.dtype == torch.float32

    def test_forward_is_encode_then_decode(self, name: str) -> None:
        tokenizer, x = build(name), example(name)
        result = tokenizer(x)
        ids = tokenizer.encode(x)
        assert torch.equal(result.ids, ids)
        torch.testing.assert_close(result.output, tokenizer.decode(ids, GRIDS[name]), rtol=1e-4, atol=1e-5)

    def test_the_mean_under_certainty_is_the_token_itself(self, name: str) -> None:
        tokenizer, x = build(name), example(name)
        ids = tokenizer.encode(x)
        mean = tokenizer.decode_mean(torch.nn.functional.one_hot(ids, 32).float(), GRIDS[name])
        torch.testing.assert_close(mean, tokenizer.decode(ids, GRIDS[name]), rtol=1e-4, atol=1e-5)
        with pytest.raises(SpaceError, match=r"probabilities of shape \(2, 3, 31\)"):
            tokenizer.decode_mean(torch.ones(2, 3, 31), GRIDS[name])

    def test_batch_equals_singles(self, name: str) -> None:
        tokenizer, x = build(name), example(name, batch=4)
        assert torch.equal(tokenizer.encode(x), torch.cat([tokenizer.encode(row[None]) for row in x]))

    def test_saved_and_loaded_gives_the_same_tokens(self, name: str) -> None:
        first, second, x = build(name), build(name, seed=9), example(name)
        second.load_state_dict(load(save(first.state_dict())))
        assert torch.equal(first.encode(x), second.encode(x))

    def test_encoding_in_training_mode_neither_learns_nor_draws(self, name: str) -> None:
        tokenizer, x = build(name).train(), example(name)
        before = {key: value.clone() for key, value in tokenizer.state_dict().items()}
        assert torch.equal(tokenizer.encode(x), tokenizer.encode(x))
        assert tokenizer.training
        assert all(torch.equal(value, before[key]) for key, value in tokenizer.state_dict().items())

    def test_every_weight_gets_a_gradient(self, name: str) -> None:
        tokenizer, x = build(name).train(), example(name, batch=8)
        result = tokenizer(x)
        (result.output.square().mean() + result.code_loss).backward()
        assert [key for key, p in tokenizer.named_parameters() if p.grad is None] == []

    def test_half_precision_weights(self, name: str) -> None:
        tokenizer, x = build(name).to(torch.bfloat16), example(name)
        output = tokenizer.decode(tokenizer.encode(x), GRIDS[name])
        assert output.dtype == torch.float32 and output.isfinite().all()

    def test_mean_codes_are_exact_whatever_products_are(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Codes are float32 also where the networks multiply in bfloat16; a decoder that denoises reads all of it."""
        tokenizer = build(name)
        monkeypatch.setattr(tokenizer, "_reconstruct", lambda codes, grid: codes)
        shares = torch.rand(2, 4 if name == "vector" else 15, 32).softmax(-1)
        wanted = tokenizer.decode_mean(shares, GRIDS[name])
        tokenizer.precision = "bfloat16"
        assert torch.equal(tokenizer.decode_mean(shares, GRIDS[name]), wanted)

    def test_a_model_on_the_meta_device_takes_weights(self, name: str) -> None:
        with torch.device("meta"):
            hollow = VQTokenizer(CONFIGS[name]).eval()
        full, x = build(name), example(name)
        hollow.load_state_dict(full.state_dict(), assign=True)
        assert torch.equal(hollow.encode(x), full.encode(x))

    def test_config_is_plain_data(self, name: str) -> None:
        config = CONFIGS[name]
        assert structure(json.loads(json.dumps(attrs.asdict(config))), TokenizerConfig, "a test") == config


def test_an_overlap_starts_as_nothing_and_then_reaches_over_borders_of_patches() -> None:
    tokenizer = VQTokenizer(CONFIGS["joined"]).eval()
    plain = VQTokenizer(attrs.evolve(CONFIGS["joined"], overlap=None)).eval()
    plain.load_state_dict({k: v for k, v in tokenizer.state_dict().items() if not k.startswith("decoder.overlap")})
    ids = torch.arange(16)[None]
    assert torch.equal(tokenizer.decode(ids), plain.decode(ids)) and tokenizer.fingerprint() == plain.fingerprint()
    overlap = tokenizer.decoder.overlap
    for parameter in overlap.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens, patches = torch.randn(1, 16, 16), torch.zeros(1, 3, 32, 32, requires_grad=True)
    overlap(tokens, patches, (4, 4))[0, 0, 8, 8].backward()
    assert patches.grad is not None and patches.grad[0, :, :8, :8].any(), (
        "a pixel does not see the patch before its own"
    )


def test_noise_on_codes_is_of_training_alone() -> None:
    tokenizer, x = build("image"), example("image")
    tokenizer.code_noise = 0.5
    assert torch.equal(tokenizer(x).output, build("image")(x).output)
    tokenizer.train()
    torch.manual_seed(0)
    assert not torch.equal(tokenizer(x).output, tokenizer(x).output)


def test_ids_may_be_embedded_in_a_training_step() -> None:
    ids = build("image").encode(example("image"))
    torch.nn.Embedding(32, 4)(ids).sum().backward()


@pytest.mark.parametrize(
    ("broken", "hint"),
    [
        (lambda: ViTConfig(10, 1, 3, 8), "heads"),
        (lambda: ViTConfig(6, 1, 2, 8), "multiple of 4"),
        (lambda: ViTConfig(16, 0, 2, 8), "depth"),
        (lambda: ProductConfig(size=8, latent=6, codebooks=4), "codebooks"),
        (lambda: CosineConfig(size=8, latent=8, codebooks=2), "product"),
        (lambda: QUANTIZERS({"kind": "lucid", "size": 8, "latent": 8}), "no quantizer 'lucid'"),
        (lambda: TokenizerConfig("mlp", 3, VIT, VIT, COSINE), "MLPConfig"),
        (lambda: TokenizerConfig("vit", 3, VIT, VIT, COSINE, image_size=30), "patch"),
        (lambda: TokenizerConfig("vit", 3, VIT, VIT, COSINE, overlap=OverlapConfig((4,) * 4)), "16 cells a patch"),
        (
            lambda: TokenizerConfig("vit", 5, FEATURES, FEATURES, COSINE, overlap=OverlapConfig((4,))),
            "patch_projection",
        ),
        (lambda: OverlapConfig(()), "widths"),
        (lambda: TokenizerConfig("mlp", 3, MLPConfig(8, 1), MLPConfig(8, 1), COSINE, labels=3), "labels"),
    ],
)
def test_impossible_configs_are_refused(broken: Callable[[], object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        broken()


def test_wrong_inputs_are_refused_with_what_is_expected() -> None:
    tokenizer = build("image")
    with pytest.raises(ValueProblem, match=r"\(batch, 3, height, width\)"):
        tokenizer.encode(torch.zeros(2, 1, 32, 32))
    with pytest.raises(ValueProblem, match="patches"):
        tokenizer.encode(torch.zeros(2, 3, 30, 32))
    with pytest.raises(ValueProblem, match="integer labels"):
        build("labels").encode(torch.zeros(2, 32, 32))
    with pytest.raises(ValueProblem, match="0 to 6"):
        build("labels").encode(torch.full((2, 32, 32), 7))
    with pytest.raises(SpaceError, match="grid"):
        tokenizer.decode(torch.zeros(1, 15, dtype=torch.int64))
    with pytest.raises(SpaceError, match="0 to 31"):
        tokenizer.decode(torch.full((1, 16), 32))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_patchify_is_undone(b: int, h: int, w: int, c: int, patch: int) -> None:
    x = torch.randn(b, c, h * patch, w * patch)
    tokens = patchify(x, patch)
    assert torch.equal(unpatchify(tokens, (h, w), patch), x)
    assert torch.equal(tokens[0, 0], x[0, :, :patch, :patch].flatten())


def test_position_table_values() -> None:
    row1_column1 = position_table(64, 14, 14)[:, 1, 1]
    expected = [0.841471, 0.533168, 0.540302, 0.846009, 0.841471, 0.533168, 0.540302, 1.0]
    torch.testing.assert_close(row1_column1[[0, 1, 16, 17, 32, 33, 48, 63]], torch.tensor(expected))
    wide = position_table(8, 2, 5)
    assert (wide[:4].diff(dim=2) == 0).all() and (wide[4:].diff(dim=1) == 0).all()  # rows first, then columns


@pytest.mark.parametrize("length", [10, 500, 600])
def test_attention_that_is_trained_equals_the_fused_kernel(length: int) -> None:
    q, k, v = torch.randn(3, 2, 2, length, 8)
    bias = torch.zeros(2, 1, 1, length)
    bias[..., length // 2 :] = torch.finfo(torch.bfloat16).min
    reference = F.scaled_dot_product_attention(q, k, v, bias)
    half = [each.bfloat16() for each in (q, k, v)]
    for trained in (False, True):
        found = attend(*(each.requires_grad_(trained) for each in half), bias.bfloat16())
        torch.testing.assert_close(found.float(), reference, rtol=0.05, atol=0.03)


class TestLosses:
    @pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "cosine"])
    def test_zero_where_equal(self, name: str) -> None:
        x = torch.randn(2, 3, 4, 4)
        assert LOSSES[name](x, x) == pytest.approx(0, abs=1e-6)
        assert LOSSES[name](x, -x) > 0

    def test_cosine_ignores_length_and_ends_at_two(self) -> None:
        x = torch.randn(5, 7)
        assert LOSSES["cosine"](3 * x, x) == pytest.approx(0, abs=1e-6)
        assert LOSSES["cosine"](-x, x) == pytest.approx(2, abs=1e-6)

    def test_cross_entropy_ignores_a_label(self) -> None:
        logits, labels = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 1], [2, 2]]])
        expected = F.cross_entropy(logits[:, :, 0], labels[:, 0])
        assert LOSSES["cross_entropy"](logits, labels, ignore=2) == pytest.approx(expected.item())
        assert LOSSES["cross_entropy"](logits, torch.full((1, 2, 2), 2), ignore=2) == 0

    def test_balanced_bce_weighs_both_sides_alike(self) -> None:
        target = torch.full((1, 1, 10, 10), -1.0)
        target[..., 0, 0] = 1
        output = torch.where(target > 0, 2.0, -3.0)
        expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))) / 2
        assert LOSSES["balanced_bce"](output, target) == pytest.approx(expected, rel=1e-5)
        assert LOSSES["balanced_bce"](output, -torch.ones_like(target)).isfinite()


@pytest.mark.parametrize(("name", "loss"), [("image", "mse"), ("labels", "cross_entropy"), ("vector", "cosine")])
def test_training_lowers_the_loss(name: str, loss: str, tmp_path) -> None:
    torch.manual_seed(0)
    batch = example(name, batch=16)
    if name != "vector":  # one color or label per picture: something that fits through a codebook
        batch = batch[..., :1, :1].expand_as(batch).contiguous()
    run = TrainingSettings(
        steps=60, batch_size=16, lr=3e-3, schedule={"warmup_steps": 5}, log_every=10, ema=0.9, precision="float32"
    )
    tokenizer = VQTokenizer(attrs.evolve(CONFIGS[name], refine=False))
    trained = fit_tokenizer(tokenizer, lambda start: iter(lambda: batch, None), loss, run, tmp_path)
    records = read_log(tmp_path / "log.jsonl")
    assert records[-1]["reconstruction"] < 0.9 * records[0]["reconstruction"]
    assert 0 < records[-1]["usage"] <= 1 <= records[-1]["perplexity"] <= 32
    assert records[-1]["commitment"] >= 0
    assert not trained.training
    assert LOSSES[loss](trained(batch).output, batch) < records[0]["reconstruction"]


def test_an_unknown_loss_names_the_nearest() -> None:
    run = TrainingSettings(steps=1, batch_size=1, lr=1e-3)
    with pytest.raises(ConfigError, match="smooth_l1"):
        fit_tokenizer(build("image"), [], "smoothl1", run)


# --- closed-form values of the published architectures ---

UNTOUCHED = ("initted", "cluster_size")


def sine_filled(name: str) -> VQTokenizer:
    """A published tokenizer: of its recorded tensors, number n in the order of names holds sin(0.37 i + 0.11 n)."""
    recorded = json.loads((SMALL / "shapes" / f"{name}.json").read_text())
    config = parse_tokenizer_config(recorded["config"], name)
    fixed = {key.name: key.fixed for key in tokenizer_keys(tokenizer_on_meta(config)) if key.fixed}
    state = {}
    for number, (key, (shape, _)) in enumerate(sorted(recorded["tensors"].items())):
        if key in fixed:
            state[key] = fixed[key]().view(shape)
            continue
        index = torch.arange(math.prod(shape), dtype=torch.float64)
        if key.endswith(UNTOUCHED):
            values = torch.zeros_like(index)
        elif key.endswith("embed"):
            values = (0.7 * index + 0.3).sin_()
        else:
            values = (0.37 * index + 0.11 * number).sin_() * (0.02 if len(shape) > 1 else 0.1)
            values += float(len(shape) == 1 and key.endswith("weight"))
        state[key] = values.float().view(shape)
    return tokenizer_in(InMemory(state), config, name)


def assert_start(values: Tensor, *expected: float) -> None:
    torch.testing.assert_close(values.flatten()[: len(expected)], torch.tensor(expected), rtol=1e-4, atol=2e-5)


def test_mask_tokenizer_agrees_with_the_published_architecture() -> None:
    tokenizer = sine_filled("4M_tokenizers_sam-instance_1k_64")
    assert sum(p.numel() for p in tokenizer.parameters()) == 181_550_468 - 2 * 768 * 16
    x = torch.sin(0.05 * torch.arange(64 * 64, dtype=torch.float64)).float().view(1, 1, 64, 64)
    with torch.no_grad():
        features = tokenizer.encoder(x).mT  # published layout: channels first
        assert features.mean() == pytest.approx(0.586093, abs=1e-4)
        assert features.abs().mean() == pytest.approx(13.943177, rel=1e-4)
        assert_start(features, 10.831814, 10.830526, 10.826459, 10.822311)
        latents = tokenizer.latents(x).mT
        assert latents.abs().mean() == pytest.approx(1.344159, rel=1e-4)
        assert_start(latents, -2.144627, -2.134126)
    expected = [195, 122, 827, 280, 815, 742, 122, 900, 815, 742, 900, 353, 973, 900, 669, 122]
    assert tokenizer.encode(x).tolist() == [expected]
    output = tokenizer.decode(torch.arange(0, 16 * 61, 61)[None])
    assert output.mean() == pytest.approx(0.025085, abs=1e-4)
    assert output.abs().mean() == pytest.approx(1.707879, rel=1e-4)
    assert_start(output, -0.444885, 2.528517, 1.177291, -2.155550)
    assert_start(output.flatten()[-2:], 2.604631, 0.494136)


def test_pose_tokenizer_agrees_with_the_published_architecture() -> None:
    tokenizer = sine_filled("4M_tokenizers_human-poses_1k_8")
    assert sum(p.numel() for p in tokenizer.parameters()) == 106_683_599
    x = torch.sin(0.3 * torch.arange(207, dtype=torch.float64)).float()[None]
    with torch.no_grad():
        features = tokenizer.encoder(x)
        assert features.abs().mean() == pytest.approx(2.408278, rel=1e-4)
        assert_start(features, -3.498292, -0.016921, 3.622711, -2.223029)
        latents = tokenizer.latents(x)
        assert latents.abs().mean() == pytest.approx(0.607352, rel=1e-4)
        assert_start(latents, 0.850097, -0.720870)
    assert tokenizer.encode(x).tolist() == [[926, 326, 408, 68, 1021, 158, 503, 358]]
    output = tokenizer.decode(torch.arange(0, 800, 100)[None])
    assert output.mean() == pytest.approx(-0.014446, abs=1e-4)
    assert output.abs().mean() == pytest.approx(2.385514, rel=1e-4)
    assert_start(output, -3.696362, 0.089617, 3.394568, -2.456576)
