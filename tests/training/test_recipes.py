"""The published recipes, and what dry runs count."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import attrs
import pytest
import torch
from small_runs import command
from torch.utils.flop_counter import FlopCounterMode

from anymodal.checkpoints.state import transformer_on_meta
from anymodal.config import load_config
from anymodal.data.batches import Batch
from anymodal.errors import ConfigError
from anymodal.masking import Component, MaskingConfig
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import CosineConfig, FSQConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.engine import Engine
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.estimate import activations, memory, plan, sample_load, training_flops
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.optim import AdamWConfig
from anymodal.training.runtime import Runtime
from anymodal.training.settings import ParallelConfig, TrainingSettings
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.training.tokenizers.estimate import _forward, plan_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes"
FOURM = RECIPES / "fourm"
MODELS = sorted(path.stem for path in FOURM.glob("*.yaml"))
TOKENIZERS = sorted(path.stem for path in (FOURM / "tokenizers").glob("*.yaml"))
# Parameters in 4M's format and of the transformer, in millions (4M-21, arXiv 2406.09406).
PUBLISHED = {"4m-21-b": (834, 199), "4m-21-l": (1553, 706), "4m-21-xl": (4518, 2823)}


@pytest.mark.parametrize("name", MODELS)
def test_published_models_can_be_planned(name):
    config = load_config(FOURM / f"{name}.yaml", TrainConfig)
    made = plan(config, world=64)
    assert made.parameters.published and made.parameters.trained == made.parameters.total
    if name in PUBLISHED:
        assert (round(made.parameters.published / 1e6), round(made.parameters.transformer / 1e6)) == PUBLISHED[name]
    assert len(made.modalities) == (18 if name.startswith("4m-21") else 7)
    assert made.samples_per_step in (4096, 8192) and made.tokens > 1e11
    base = 2e-5 if name.endswith("-xl") else 1e-4
    assert made.peak_lr == pytest.approx(base * made.samples_per_step / 256)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_published_tokenizers_load(name):
    config = load_config(FOURM / "tokenizers" / f"{name}.yaml", TokenizerRun)
    assert config.training is not None and config.modality in name


@pytest.mark.parametrize(("name", "tokens"), [("clip", 196), ("human_poses", 8)])
def test_published_tokenizers_can_be_planned(name, tokens):
    made = plan_tokenizer(load_config(FOURM / "tokenizers" / f"{name}.yaml", TokenizerRun), world=8)
    assert made.tokens == tokens and made.memory.activations > 0 and made.flops_per_step > 1e11


def test_more_processes_than_can_share_a_run_are_not_planned_for():
    change = ["training.batch_size=24", "training.accumulate=2"]
    model = load_config(FOURM / "4m-21-b.yaml", TrainConfig, change)
    with pytest.raises(ConfigError, match="a batch of 24 samples cannot be shared by 13 processes in 2 parts"):
        plan(model, 13)
    tokenizer = load_config(FOURM / "tokenizers/clip.yaml", TokenizerRun, change)
    with pytest.raises(ConfigError, match="a batch of 24 samples cannot be shared by 13 processes in 2 parts"):
        plan_tokenizer(tokenizer, 13)
    with pytest.raises(ConfigError, match="works with one process, and these are 2"):
        plan(load_config(FOURM / "4m-21-b.yaml", TrainConfig, ["training.optimizer={tables: rows}"]), 2)


def test_a_dry_run_prints_numbers_and_needs_no_data(capsys, tmp_path):
    arguments = ["--dry-run", "--world", "4", "--set", "parallel.strategy=fsdp", "--set", f"tokenizers={tmp_path}"]
    for flag in ([], ["--json"]):
        assert command("train", RECIPES / "tiny" / "model.yaml", *arguments, *flag) == 0
    text, _, last = capsys.readouterr().out.rstrip().rpartition("\n")
    printed = json.loads(last)
    assert "each of 4 GPUs with fsdp" in text and "rgb.pixels\t196\t768 numbers\tinput" in text
    parts = {key: size for key, size in printed["memory"].items() if key != "total"}
    assert printed["memory"]["total"] == sum(parts.values())
    assert printed["tokens_per_step"] == 64 * (256 + 160)


def test_a_started_run_counts_what_it_trains():
    path, begin = RECIPES / "tiny" / "model.yaml", "start.model=tiny"
    change = ["training.optimizer=adamw", begin]
    frozen = plan(load_config(path, TrainConfig, [*change, 'start.freeze=["encoder.*", "decoder.*"]']))
    adapted = plan(load_config(path, TrainConfig, [*change, "start.lora.rank=8"]))
    assert 0 < adapted.parameters.trained < frozen.parameters.trained < frozen.parameters.total
    assert adapted.memory.optimizer == 8 * adapted.parameters.trained
    assert adapted.parameters.total == frozen.parameters.total
    with pytest.raises(ConfigError, match="fits no weight; names begin with input_table"):
        plan(load_config(path, TrainConfig, [begin, 'start.freeze=["blocks.*"]']))


def small(checkpointed: bool = False) -> tuple[TrainConfig, Layout]:
    """A configuration of a model over pixels and a grid, every sample of which uses all of its tokens."""
    masking = MaskingConfig(9, 6, [Component({"a.pixels": 1.0}, {"b": 1.0})])
    config = TrainConfig(
        modalities={},
        tokenizers=Path(),
        data="none",
        model=ModelConfig(dim=32, encoder_depth=2, decoder_depth=3, heads=2),
        masking=masking,
        training=TrainingSettings(1, 1, 1e-3, precision="float32"),
        parallel=ParallelConfig(checkpoint_activations=checkpointed),
    )
    streams = [
        Stream("a.pixels", "a", DenseSpace.grid(12, 3, 3), target=False),
        Stream("b", "b", TokenSpace.grid(50, 3, 3), input=False),
    ]
    return config, Layout(streams)


def one_sample(layout: Layout) -> Packed:
    """A batch of one sample that fills both budgets."""
    packer = Packer(layout)
    packer.add_dense("a.pixels", torch.randn(9, 12).numpy(), torch.arange(9).numpy())
    packer.add_grid_target("b", torch.arange(6).numpy(), torch.arange(6).numpy())
    return collate([packer.pack()], layout)


def test_operations_are_those_that_are_executed():
    config, layout = small()
    batch = one_sample(layout)
    model = Transformer(config.shape, layout)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = model(batch)["b"]
        loss.backward()
    load = sample_load(config.masking, layout)
    # Nothing is computed for the gradient of the pixels themselves.
    expected = training_flops(config, load) - 2 * 9 * 32 * 12
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-6)
    again = training_flops(small(checkpointed=True)[0], load)
    assert 1.2 < again / training_flops(config, load) < 4 / 3


def test_gradients_of_weights_that_move_in_the_backward_pass_are_held_one_at_a_time():
    config, layout = small()
    model, load = transformer_on_meta(config.shape, layout), sample_load(config.masking, layout)
    settings = attrs.evolve(config.training, clip=0, explosion=0, optimizer=AdamWConfig(in_backward=True))
    moved = memory(attrs.evolve(config, training=settings), model, load, 1)
    assert memory(config, model, load, 1).gradients == 4 * sum(p.numel() for p in model.parameters())
    assert moved.gradients == 4 * max(p.numel() for p in model.parameters())


def kept_bytes(model: torch.nn.Module, value: object) -> int:
    """What a forward pass keeps for the backward pass beside the weights."""
    kept, weights = {}, {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(value)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in weights)


def test_what_is_kept_for_the_backward_pass_is_what_autograd_keeps():
    config, layout = small()
    counted = kept_bytes(Transformer(config.shape, layout), one_sample(layout))
    assert activations(config, sample_load(config.masking, layout)) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(("gated", "k"), [(True, 4), (False, 2)])
def test_the_page_says_what_is_counted_as_kept(gated, k):
    page = (RECIPES.parent / "docs/reference/recipes.md").read_text()
    told = page.partition("- **Activations**")[2].partition("\n- **")[0]
    assert "k = 4 for gated MLPs, else 2" in told
    config, layout = small()
    model = attrs.evolve(config.shape, gated=gated)
    values = {"D": model.dim, "H": model.hidden, "e": 4, "k": k}
    products = [re.sub(r"(?<=[\w)]) (?=[\w(])", "*", each) for each in re.findall("`([^`]+)`", told)[:3]]
    encoder, decoder, read = (eval(each, values) for each in products)
    kept = 2 * 9 * encoder + 3 * (6 * decoder + 9 * read) + 4 * 6 * model.dim + 4 * 6**2
    assert activations(attrs.evolve(config, model=model), sample_load(config.masking, layout)) == kept


def test_the_page_says_what_is_counted_as_held():
    """Several processes of DDP hold no second copy of gradients (`gradient_as_bucket_view`)."""
    page = " ".join((RECIPES.parent / "docs/reference/recipes.md").read_text().split())
    assert "4 bytes a weight, and 4 for its gradient (that of the largest alone with `in_backward`)" in page
    config, layout = small()
    config = attrs.evolve(config, training=attrs.evolve(config.training, batch_size=2))
    model = transformer_on_meta(config.shape, layout)
    held = memory(config, model, sample_load(config.masking, layout), 2)
    assert held.weights == held.gradients == 4 * sum(p.numel() for p in model.parameters())


def test_recomputing_keeps_less():
    (config, layout), (other, _) = small(), small(checkpointed=True)
    load = sample_load(config.masking, layout)
    assert activations(other, load) < activations(config, load)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_holds_the_bytes_of_its_plan(optimizer):
    """Weights, gradients, optimizer and average of a real step on a CPU."""
    config, layout = small()
    config = attrs.evolve(config, training=attrs.evolve(config.training, optimizer=optimizer, ema=0.9))
    counted = memory(config, transformer_on_meta(config.shape, layout), sample_load(config.masking, layout), 1)
    model, gradients = Transformer(config.shape, layout), []
    engine = Engine(model, config.training, runtime=Runtime(device="cpu"))
    hook = lambda *_: gradients.extend(p.grad.nbytes for p in model.parameters() if p.grad is not None)  # noqa: E731
    engine.optimizers[0].register_step_pre_hook(hook)
    engine.run(itertools.repeat(Batch(one_sample(layout))), MaskedLoss(layout))
    slots = [slot for each in engine.optimizers for held in each.state.values() for slot in held.values()]
    assert counted.weights == sum(p.nbytes for p in model.parameters())
    assert counted.gradients == sum(gradients)
    assert counted.optimizer == sum(slot.nbytes for slot in slots if slot.ndim)
    averages = sum(tensor.nbytes for tensor in engine._average.state.values())
    assert counted.average == pytest.approx(averages, rel=0.01)  # it has buffers too


@pytest.mark.parametrize("quantizer", [CosineConfig(size=32, latent=8), FSQConfig(size=64, levels=(4, 4, 4))])
def test_what_a_tokenizer_keeps_is_what_autograd_keeps(quantizer):
    sides = ViTConfig(dim=32, depth=2, heads=2, patch=8)
    made = TokenizerConfig("vit", 3, sides, sides, quantizer, image_size=64)
    measured = kept_bytes(VQTokenizer(made).eval(), torch.zeros(1, 3, 64, 64))
    assert _forward(made, 64, bfloat16=False).kept == pytest.approx(measured, rel=0.1)
