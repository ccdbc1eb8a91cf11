"""Quantizers of the library behind our interface, codebooks learned by several processes, and their training."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processor_time import patience
from safetensors.torch import load, load_file, save
from torch import Tensor
from torch.nn import functional as F

from anymodal.checkpoints.formats.fourm.tokenizer_config import write_tokenizer_config
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.nn import distributed as gather
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.base import count_ids
from anymodal.tokenizers.quantizers.config import (
    QUANTIZERS,
    CosineConfig,
    FSQConfig,
    LFQConfig,
    QuantizerConfig,
    ResidualConfig,
)
from anymodal.tokenizers.quantizers.cosine import CosineCodebook
from anymodal.tokenizers.quantizers.external import ResidualQuantizer
from anymodal.tokenizers.quantizers.usage import perplexity, usage
from anymodal.tokenizers.tokenizer import VQTokenizer

KINDS = {
    "fsq": FSQConfig(size=60, levels=(5, 4, 3)),
    "fsq in parts": FSQConfig(size=60, latent=6, codebooks=2, levels=(5, 4, 3)),
    "lfq": LFQConfig(size=64, latent=6),
    "lfq in parts": LFQConfig(size=64, codebooks=2),
    "residual": ResidualConfig(size=16, latent=8, codebooks=3),
}
VIT = ViTConfig(dim=16, depth=1, heads=2, patch=8)


def quantizer(kind: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = KINDS[kind].build()
    made(torch.randn(8, 12, KINDS[kind].latent))  # the first batch in training places codes that learn
    return made.eval()


def tokenizer(kind: str, seed: int = 0) -> VQTokenizer:
    torch.manual_seed(seed)
    return VQTokenizer(TokenizerConfig("vit", 3, VIT, VIT, KINDS[kind], image_size=32)).eval()


def unbounded(codes: Tensor, config: QuantizerConfig) -> Tensor:
    """Latents that become these codes; for "fsq" the inverse of its tanh (Mentzer et al. 2023, appendix A.1)."""
    if config.kind != "fsq":
        return codes
    levels = torch.tensor(config.levels).repeat(config.codebooks)
    half, offset = (levels - 1) * 1.001 / 2, torch.where(levels % 2 == 0, 0.5, 0.0)
    return torch.atanh((codes * (levels // 2) + offset) / half) - torch.atanh(offset / half)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_the_codes_are_those_of_the_ids(self, kind: str) -> None:
        config, made = KINDS[kind], quantizer(kind)
        result = made(torch.randn(2, 7, config.latent))
        assert result.ids.shape == ((2, 7, config.codebooks) if config.codebooks > 1 else (2, 7))
        assert result.ids.dtype == torch.int64 and result.codes.dtype == torch.float32
        assert (made.size, made.codebooks) == (config.size, config.codebooks)
        torch.testing.assert_close(made.lookup(result.ids), result.codes)

    @settings(max_examples=20)
    @given(data=st.data())
    def test_ids_lead_to_codes_and_codes_to_ids(self, kind: str, data: st.DataObject) -> None:
        config, made = KINDS[kind], quantizer(kind)
        row = st.lists(st.integers(0, config.size - 1), min_size=config.codebooks, max_size=config.codebooks)
        ids = torch.tensor(data.draw(st.lists(row, min_size=1, max_size=5)))[None]
        if isinstance(made, ResidualQuantizer):  # what the first codebook leaves over is for the others
            assert torch.equal(made(made._codes()[0][ids[..., 0]]).ids[..., 0], ids[..., 0])
            return
        ids = ids if config.codebooks > 1 else ids[..., 0]
        codes = made.lookup(ids)
        latents = unbounded(codes, config) * made.variance.add(1e-6).sqrt() + made.centre
        assert torch.equal(made(latents).ids, ids)

    def test_the_mean_under_certainty_is_the_code(self, kind: str) -> None:
        config, made = KINDS[kind], quantizer(kind)
        result = made(torch.randn(2, 5, config.latent))
        shares = F.one_hot(result.ids.flatten(1), config.size).float()
        torch.testing.assert_close(made.mean(shares), result.codes)
        assert made.mean(torch.full_like(shares, 1 / config.size)).shape == result.codes.shape

    def test_gradients_reach_the_latents(self, kind: str) -> None:
        made = quantizer(kind).train()
        z = torch.randn(4, 6, KINDS[kind].latent, requires_grad=True)
        result = made(z)
        (result.codes.square().sum() + result.loss).backward()
        assert z.grad is not None and z.grad.isfinite().all() and z.grad.abs().sum() > 0

    def test_autocast_changes_nothing(self, kind: str) -> None:
        made, z = quantizer(kind), torch.randn(2, 50, KINDS[kind].latent)
        plain = made(z)
        with torch.autocast("cpu", torch.bfloat16):
            cast = made(z)
        assert torch.equal(plain.ids, cast.ids) and torch.equal(plain.codes, cast.codes)

    def test_statistics_fit(self, kind: str) -> None:
        config, made = KINDS[kind], quantizer(kind)
        ids = made(torch.randn(4, 30, config.latent)).ids
        counts = count_ids(ids.flatten(1), config.size, config.codebooks).numpy()
        assert counts.shape == (config.codebooks, config.size) and counts.sum() == 120 * config.codebooks
        assert 0 < usage(counts) <= 1 <= perplexity(counts) <= config.size

    def test_non_finite_latents_teach_nothing(self, kind: str) -> None:
        made = quantizer(kind).train()
        before = {key: value.clone() for key, value in made.state_dict().items()}
        made(torch.full((1, 5, KINDS[kind].latent), math.nan))
        assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())

    def test_a_tokenizer_of_it(self, kind: str) -> None:
        made, other, x = tokenizer(kind), tokenizer(kind, seed=9), torch.randn(2, 3, 16, 32)
        made.train()
        result = made(x)
        (result.output.square().mean() + result.code_loss).backward()
        assert [name for name, p in made.named_parameters() if p.grad is None] == []
        made.eval()
        ids = made.encode(x)
        assert ids.shape == (2, 8 * KINDS[kind].codebooks)
        other.load_state_dict(load(save(made.state_dict())))
        assert torch.equal(other.encode(x), ids)
        torch.testing.assert_close(other.decode(ids, (2, 4)), made(x).output)
        rough = other.to(torch.bfloat16).decode(ids, (2, 4))
        assert rough.dtype == torch.float32 and rough.isfinite().all()

    def test_every_id_decodes(self, kind: str) -> None:
        made, config = tokenizer(kind), KINDS[kind]
        ids = torch.arange(config.size)[:, None].expand(-1, 4 * config.codebooks)
        assert made.decode(ids).isfinite().all()

    def test_the_meta_device_and_the_config(self, kind: str) -> None:
        made, x = tokenizer(kind), torch.randn(2, 3, 16, 16)
        with torch.device("meta"):
            hollow = VQTokenizer(made.config).eval()
        hollow.load_state_dict(made.state_dict(), assign=True)
        assert torch.equal(hollow.encode(x), made.encode(x))
        assert structure(json.loads(json.dumps(attrs.asdict(made.config))), TokenizerConfig, "a test") == made.config
        with pytest.raises(CheckpointError, match="4M has no quantizers of kind"):
            write_tokenizer_config(made.config)

    def test_without_the_library_one_line_says_what_to_install(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("anymodal.tokenizers.quantizers.external.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"pip install 'anymodal\[quantizers\]'"):
            KINDS[kind].build()


@pytest.mark.parametrize(
    ("broken", "hint"),
    [
        (lambda: QUANTIZERS({"kind": "fsq", "size": 60, "latent": 3}), "levels"),
        (lambda: FSQConfig(size=60, latent=3, levels=(5, 4, 2)), "at least 3"),
        (lambda: FSQConfig(size=64, latent=3, levels=(5, 4, 3)), "5 x 4 x 3 make 60 codes, not the size 64"),
        (lambda: FSQConfig(size=60, latent=4, levels=(5, 4, 3)), "latent is 4; .* need 3"),
        (lambda: LFQConfig(size=60, latent=6), "power of two"),
        (lambda: LFQConfig(size=64, latent=6, codebooks=2), "need 12"),
        (lambda: ResidualConfig(size=16, latent=8), "at least 2 codebooks"),
        (lambda: CosineConfig(size=60, latent=3, decay=1.0), r"CosineConfig.decay must be in \[0, 1\), got 1.0"),
        (lambda: QUANTIZERS({"kind": "cosine", "size": 60, "levels": (5, 4, 3)}), "'cosine' has no 'levels'"),
    ],
)
def test_impossible_configs_are_refused(broken: Callable[[], object], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        broken()


def test_the_library_is_not_imported_without_need() -> None:
    code = "import sys; from anymodal.tokenizers.quantizers.cosine import CosineCodebook; CosineCodebook(4, 4)"
    code += "; from anymodal.tokenizers import diffusion; sys.exit('vector_quantize_pytorch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["fsq", "lfq"])
def test_latents_far_from_fixed_codes_are_moved_to_them(kind: str) -> None:
    config = KINDS[kind]
    torch.manual_seed(0)
    made = config.build().train()
    z = torch.randn(4, 500, config.latent) * torch.tensor([0.01] * (config.latent - 1) + [30.0]) + 20
    counts = count_ids(made(z).ids, config.size, 1).numpy()
    assert usage(counts) > 0.9 and perplexity(counts) > config.size / 2
    assert torch.equal(made(z).ids, made.eval()(z).ids)


def test_a_residual_codebook_gets_closer_with_every_layer() -> None:
    torch.manual_seed(0)
    made, z = ResidualQuantizer(16, 4, 4).train(), torch.randn(1, 400, 4)
    for _ in range(60):
        made(z)
    result = made.eval()(z)
    codes, rest = made._codes(), z[0]
    errors = [rest.square().mean()]
    for layer in range(4):
        rest = rest - codes[layer][result.ids[0, :, layer]]
        errors.append(rest.square().mean())
    assert all(after < 0.8 * before for before, after in itertools.pairwise(errors))
    assert usage(count_ids(result.ids, 16, 4).numpy()) > 0.9


# Several processes.

SCRIPT = """
import sys, datetime, torch
from torch import distributed as dist
sys.path.insert(0, sys.argv[1])
import importlib.util
spec = importlib.util.spec_from_file_location("cases", sys.argv[2])
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
rank, store, out = int(sys.argv[3]), sys.argv[4], sys.argv[5]
wait = datetime.timedelta(seconds=60)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=wait)
from safetensors.torch import save_file
save_file({k: v.contiguous().clone() for k, v in cases.learned(rank).items()}, f"{out}/{rank}.safetensors")
dist.destroy_process_group()
"""
SPLIT = 3  # rows of the first process; the second has the other 5


def learned(rank: int | None = None) -> dict[str, Tensor]:
    """What codebooks are after a few batches: of a process, or without a rank of one that has all the latents."""
    part = slice(None) if rank is None else (slice(0, SPLIT), slice(SPLIT, None))[rank]
    states: dict[str, Tensor] = {}
    for name, make in CASES.items():
        torch.manual_seed(0)
        made = make().train()
        batches = torch.randn(3, 8, 20, made.latent, generator=torch.Generator().manual_seed(1))
        # Processes draw other numbers, but for the first, which draws what a single one would.
        torch.manual_seed(5 if rank in (None, 0) else 6)
        losses = torch.stack([made(batch[part]).loss.detach() for batch in batches])
        states |= {f"{name}/{key}": value.float() for key, value in made.state_dict().items()}
        states[f"{name}/loss"] = losses
    z = torch.randn(4, 20, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
    KINDS["lfq"].build().train()(z).loss.backward()
    return states | {"lfq/gradient": torch.as_tensor(z.grad)}


def case(made: torch.nn.Module, latent: int) -> torch.nn.Module:
    made.latent = latent  # type: ignore[assignment]
    return made


CASES: dict[str, Callable[[], torch.nn.Module]] = {
    "alive": lambda: case(CosineCodebook(16, 6, dead_share=0.0, from_data=False), 6),
    "dying": lambda: case(CosineCodebook(64, 6, dead_share=0.9, from_data=False), 6),
    "placed": lambda: case(CosineCodebook(16, 6), 6),
    "many": lambda: case(CosineCodebook(400, 6), 6),
    "residual": lambda: case(ResidualQuantizer(8, 6, 2), 6),
    "standardized": lambda: case(KINDS["lfq"].build(), 6),
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), __file__]
    started = [subprocess.Popen([*words, str(rank), str(folder / "store"), str(folder)]) for rank in range(2)]
    assert [process.wait(timeout=patience(120)) for process in started] == [0, 0]
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns_from_all_latents(ranks: list[dict[str, Tensor]], name: str) -> None:
    alone = {key: value for key, value in learned().items() if key.startswith(f"{name}/") and not key.endswith("loss")}
    for key, value in alone.items():
        assert torch.equal(ranks[0][key], ranks[1][key]), key
        torch.testing.assert_close(ranks[0][key], value, rtol=1e-6, atol=1e-6)


def test_the_entropy_of_lfq_weighs_the_same_on_two_processes(ranks: list[dict[str, Tensor]]) -> None:
    gradient = learned()["lfq/gradient"]
    for rank in ranks:
        assert (rank["lfq/gradient"] - gradient).norm() < 0.01 * gradient.norm()


def test_one_process_needs_no_group() -> None:
    x = torch.arange(6.0).view(3, 2)
    assert gather.processes() == 1 and gather.counts(x) == [3]
    assert gather.total(x) is x and gather.first(x) is x
    assert torch.equal(gather.rows_at(x, torch.tensor([2, 0]), [3]), x[[2, 0]])
