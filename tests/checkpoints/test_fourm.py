"""The adapter to published 4M checkpoints: known numbers, strictness and round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.batches import mean_over_logits, mean_over_modalities, pack_batch
from parity.checkpoints import InMemory
from parity.transformer import run
from safetensors.torch import load_file, save_file

from anymodal.checkpoints.formats.fourm.config import parse_model_config, write_model_config
from anymodal.checkpoints.formats.fourm.domains import BY_STREAM, DOMAINS
from anymodal.checkpoints.formats.fourm.model import (
    load_transformer,
    published_state,
    read_transformer,
    save_transformer,
    transformer_keys,
)
from anymodal.checkpoints.raw_config import parse_header_value
from anymodal.checkpoints.state import parts
from anymodal.errors import CheckpointError
from anymodal.model import Transformer

CONFIG = {
    "domains_in": ["rgb@224", "color_palette", "tok_semseg@224", "t5_caption", "tok_dinov2_global"],
    "domains_out": ["color_palette", "tok_semseg@224", "tok_dinov2_global", "t5_caption"],
    "dim": 8,
    "encoder_depth": 1,
    "decoder_depth": 1,
    "num_heads": 2,
    "mlp_ratio": 4,
    "qkv_bias": False,
    "proj_bias": False,
    "mlp_bias": False,
    "norm_bias": False,
    "act_layer": "SiLU",
    "gated_mlp": True,
    "image_size": 224,
    "patch_size": 16,
}


def build(**changes: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(*parse_model_config(CONFIG | changes, "the test")).eval()


def same(a: Transformer, b: Transformer) -> bool:
    return all(torch.equal(x.tensor, y.tensor) for x, y in zip(parts(a), parts(b), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_transformer(build(), tmp_path / "model")


def rewrite(folder: Path, change) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


# Known numbers (4M, arXiv 2312.06647).

KNOWN = {
    False: {
        "mod": 9.581284,
        "token": 9.559761,
        "losses": {"caption": 10.407712, "depth": 9.061045, "dinov2_global": 9.275093},
        "caption": [[0.237859, 0.146449, -0.203361, -0.194354], [0.005371, -0.694430, -0.168953, 0.654631]],
        "depth": [[0.164404, 0.227125, -0.110902, -0.253249], [0.302990, -0.590901, -0.442183, 0.486739]],
        "dinov2_global": [[0.059630, 0.264535, 0.002684, -0.263902], [0.542889, -0.374807, -0.631179, 0.226125]],
        "size": 0.480792,
    },
    True: {
        "mod": 9.682130,
        "token": 9.667661,
        "losses": {"caption": 10.551680, "depth": 9.211472, "dinov2_global": 9.283237},
        "caption": [[0.264390, 0.094063, -0.242232, -0.151124], [1.037915, -0.044079, -1.048298, -0.202860]],
        "depth": [[0.212218, 0.193755, -0.166577, -0.232994], [1.010397, 0.407534, -0.914397, -0.622931]],
        "dinov2_global": [[0.119619, 0.256538, -0.059189, -0.270480], [0.790401, 0.781513, -0.606306, -0.924336]],
        "size": 0.572781,
    },
}


def sine_filled(raw: dict) -> Transformer:
    """Weights that are sines of their place in the sorted list of keys."""
    config, layout = parse_model_config(raw, "the test")
    with torch.device("meta"):
        keys = transformer_keys(Transformer(config, layout))
    state = {}
    for n, key in enumerate(sorted(keys, key=lambda k: k.name)):
        wave = np.sin(0.37 * np.arange(int(np.prod(key.shape))) + 0.11 * n)
        if key.fixed is not None:
            value = key.fixed().numpy()
        elif len(key.shape) == 1:
            value = 1 + 0.1 * wave if key.name.endswith("weight") else 0.1 * wave
        else:
            value = 0.05 * wave
        state[key.name] = torch.from_numpy(np.asarray(value, np.float32).reshape(key.shape))
    return read_transformer(InMemory(state), config, layout, "the test")


def sine_batch() -> dict[str, dict[str, np.ndarray]]:
    b, whole = np.arange(2)[:, None], lambda n: np.ones((2, n), bool)

    def domain(tensor: np.ndarray, read: np.ndarray, asked: np.ndarray, steps: np.ndarray) -> dict[str, np.ndarray]:
        return {"tensor": tensor, "input_mask": ~read, "target_mask": ~asked, "decoder_attention_mask": steps}

    def once(asked: np.ndarray) -> np.ndarray:
        steps = np.zeros(asked.shape, int)
        steps[np.arange(2), asked.argmax(1)] = asked.sum(1)
        return steps

    j = np.arange(196)[None].repeat(2, 0)
    k, t, g = j[:, :20], j[:, :77], j[:, :16]
    pixels = np.sin(0.001 * np.arange(2 * 3 * 224 * 224)).reshape(2, 3, 224, 224).astype(np.float32)
    vectors = np.sin(0.01 * np.arange(2 * 77 * 4096)).reshape(2, 77, 4096).astype(np.float32)
    said, grid = (k >= 8) & (k < 15 - 2 * b), (j % 7 == 3) & (j % 5 != 0)
    none = np.zeros((2, 196), bool)
    return {
        "rgb@224": domain(pixels, j % 3 == b, none, none.astype(int)),
        "caption": domain((7 * k + 13 * b) % 30000 + 5, k < 6 - 2 * b, said, said.astype(int)),
        "t5_caption": domain(vectors, t < 3, none[:, :77], none[:, :77].astype(int)),
        "tok_depth@224": domain((31 * j + 17 * b) % 8192, j % 5 == 0, grid, once(grid)),
        "tok_dinov2_global": domain((511 * g + b) % 8192, ~whole(16), whole(16), once(whole(16))),
    }


@pytest.mark.parametrize("qk_norm", [False, True])
def test_known_numbers(qk_norm: bool):
    known, order = KNOWN[qk_norm], ["caption", "tok_depth@224", "tok_dinov2_global"]
    sizes = {"dim": 64, "num_heads": 4, "encoder_depth": 2, "decoder_depth": 2, "qk_norm": qk_norm}
    batch = sine_batch()
    raw = CONFIG | sizes | {"domains_in": list(batch), "domains_out": order, "share_modality_embeddings": False}
    model = sine_filled(raw)
    assert len(transformer_keys(model)) == (109 if qk_norm else 85)
    packed = pack_batch(model.layout, batch, 120, 50)
    assert (packed.inputs.streams >= 0).sum(1).tolist() == [115, 112]
    assert (packed.targets.streams >= 0).sum(1).tolist() == [44, 42]
    states = run(model, packed)
    assert mean_over_modalities(states.losses, 3) == pytest.approx(known["mod"], abs=2e-5)
    assert mean_over_logits(states.losses, packed.targets, model.layout) == pytest.approx(known["token"], abs=2e-5)
    for name, loss in known["losses"].items():
        assert float(states.losses[name]) == pytest.approx(loss, abs=2e-5)
        logits = model.logits(states.decoder, name)
        assert logits[[0, 1], [0, 9], :4].numpy() == pytest.approx(np.array(known[name]), abs=2e-5)
    caption = model.logits(states.decoder, "caption").abs().mean()
    assert float(caption) == pytest.approx(known["size"], abs=2e-3)


# Round trips.


@pytest.mark.parametrize("name", ["folder", "single.safetensors"])
@pytest.mark.parametrize(
    "changes", [{}, {"share_modality_embeddings": False, "num_register_tokens": 2, "qk_norm": True}]
)
@pytest.mark.parametrize("biases", [False, True])
def test_round_trip_is_bit_equal(tmp_path: Path, name: str, changes: dict, biases: bool):
    keys = ("qkv_bias", "proj_bias", "mlp_bias", "norm_bias")
    model = build(**changes, **dict.fromkeys(keys, biases))
    loaded = load_transformer(save_transformer(model, tmp_path / name))
    assert same(model, loaded)
    assert (loaded.config, loaded.layout) == (model.config, model.layout)
    again = published_state(loaded)
    assert all(torch.equal(value, again[key]) for key, value in published_state(model).items())


def test_a_target_alone_keeps_its_shared_embedding(tmp_path: Path):
    model = build(domains_in=["rgb@224"], domains_out=["tok_semseg@224", "tok_dinov2_global"])
    loaded = load_transformer(save_transformer(model, tmp_path / "model"))
    mine = {p.name: p.tensor for p in parts(model) if "input_positions" not in p.name}
    assert all(torch.equal(p.tensor, mine[p.name]) for p in parts(loaded) if p.name in mine)


def test_unused_tables_are_kept_only_when_given(folder: Path):
    name = "decoder_embeddings.tok_semseg@224.token_emb.weight"
    assert not load_file(folder / "model.safetensors")[name].any()
    given = torch.ones(4096, 8)
    assert torch.equal(published_state(load_transformer(folder), {name: given})[name], given)


def test_a_subset_of_streams_gives_the_same_weights(folder: Path):
    whole = {p.name: p.tensor for p in parts(load_transformer(folder))}
    some = load_transformer(folder, ["rgb.pixels", "semseg"])
    assert [s.name for s in some.layout.streams] == ["rgb.pixels", "semseg"]
    assert all(torch.equal(p.tensor, whole[p.name]) for p in parts(some))
    with pytest.raises(CheckpointError, match="no stream 'semsegs'; did you mean 'semseg'"):
        load_transformer(folder, ["semsegs"])


def test_configs_survive_both_directions():
    config, layout = parse_model_config(CONFIG, "the test")
    assert parse_model_config(write_model_config(config, layout), "the test") == (config, layout)
    assert len(BY_STREAM) == len(DOMAINS)


@pytest.mark.parametrize(
    ("text", "value"),
    [("768", 768), ("False", False), ("None", None), ("['a', 'b@224']", ["a", "b@224"]), ("SiLU", "SiLU"), ("[", "["),
     ("!!bool maybe", "!!bool maybe"), ("!!int ''", "!!int ''"), ("!!timestamp x", "!!timestamp x"), ("1e-5", 1e-5)],
)  # fmt: skip
def test_header_values(text: str, value: object):
    assert parse_header_value(text) == value


def test_header_values_that_unfold_without_end_stay_text() -> None:
    text = f"[&a0 [1, 1], {', '.join(f'&a{k} [*a{k - 1}, *a{k - 1}]' for k in range(1, 40))}]"
    assert parse_header_value(text) == text


# Strictness.


def test_one_of_two_names_of_a_shared_tensor_is_enough(folder: Path):
    model = load_transformer(folder)
    rewrite(folder, lambda state: state.pop("encoder_embeddings.tok_semseg@224.mod_emb"))
    assert same(model, load_transformer(folder))
    rewrite(folder, lambda state: state.pop("decoder_embeddings.tok_semseg@224.mod_emb"))
    with pytest.raises(CheckpointError, match=r"no tensor 'encoder_embeddings.tok_semseg@224.mod_emb'"):
        load_transformer(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.0.attn.qkv.weight"), "no tensor 'encoder.0.attn.qkv.weight'"),
        (lambda s: s.pop("encoder.0.norm1.bias"), "no tensor 'encoder.0.norm1.bias'"),
        (lambda s: s.update({"encoder.9.norm1.weight": torch.ones(8)}), "'encoder.9.norm1.weight'"),
        (lambda s: s.update({"mask_token": torch.ones(1, 1, 9)}), r"'mask_token' .* shape \(1, 1, 9\)"),
        (lambda s: s["encoder.0.norm1.bias"].add_(1), "'encoder.0.norm1.bias' .* off the constant"),
        (lambda s: s["encoder_embeddings.color_palette.pos_emb"].mul_(2), "color_palette.pos_emb' .* off the constant"),
        (lambda s: s["decoder_embeddings.color_palette.mod_emb"].add_(1), "must be the same tensor"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, change, message: str):
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_transformer(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domains_in": ["tok_thermal@224"]}, "'tok_thermal@224'.*'thermal' of its own needs that plugin"),
        ({"domains_in": ["tok_deepth@224"]}, "did you mean 'tok_depth@224'"),
        ({"domains_in": "rgb@224"}, "domains_in must be a list"),
        ({"act_layer": "ReLU"}, "act_layer must be one of"),
        ({"dim": "8"}, "dim must be a whole number"),
        ({"dim": 10}, "multiple of 4"),
        ({"qk_norm": 1}, "qk_norm must be true or false"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(changes: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        parse_model_config(CONFIG | changes, "the test")


def test_another_architecture_is_refused():
    with pytest.raises(CheckpointError, match="does not describe a 4M model"):
        parse_model_config({"architectures": ["BertModel"], "hidden_size": 768}, "the test")
    assert parse_model_config(CONFIG | {"format": "pt"}, "the test") == parse_model_config(CONFIG, "the test")


def test_damaged_and_dangerous_files(folder: Path, tmp_path: Path):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_transformer(folder)
    weights.write_bytes((2**40).to_bytes(8, "little") + whole[8:])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_transformer(folder)
    torch.save({"a": torch.ones(1)}, weights)
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_transformer(folder)
    (tmp_path / "weights.bin").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_transformer(tmp_path / "weights.bin")
    with pytest.raises(CheckpointError, match="no such file"):
        load_transformer(tmp_path / "nothing.safetensors")


def test_numbers_that_are_not_finite_are_warned_of(folder: Path):
    rewrite(folder, lambda state: state["mask_token"].fill_(torch.nan))
    with pytest.warns(UserWarning, match="'mask_token'"):
        load_transformer(folder)


def test_streams_of_others_cannot_be_written(tmp_path: Path, small_model):
    with pytest.raises(CheckpointError, match="the space of"):
        save_transformer(small_model.transformer, tmp_path / "model")
    assert not (tmp_path / "model").exists()
