"""Published 4M checkpoints as models of ours: parts of them, tokenizers when needed, both formats, and bad files."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

import anymodal as am
from anymodal.cli.main import cli
from anymodal.convert import convert
from anymodal.errors import CheckpointError, UnknownModality
from anymodal.formats.fourm import published
from anymodal.formats.fourm.config import parse_config
from anymodal.formats.fourm.model import save_transformer
from anymodal.formats.fourm.words import FILE
from anymodal.hub import PUBLISHED, presets, resolve
from anymodal.model import Transformer
from anymodal.model.state import parts
from anymodal.plugins import Registry
from anymodal.remote import Repository
from anymodal.tokenizer_files import save_bare
from anymodal.tokenizers.tokenizer import VQTokenizer

SHARED = Path(__file__).parents[2] / "shared"
GRIDS = [f"tok_{name}@224" for name in ("rgb", "normal", "depth", "semseg", "canny_edge")]
EVERY = [
    *("caption", "t5_caption", "det", "metadata", "human_poses", "color_palette", "sam_instance", "rgb@224", *GRIDS),
    *("tok_clip@224", "tok_dinov2@224", "tok_dinov2_global", "tok_imagebind@224", "tok_imagebind_global"),
    "tok_sam_edge@224",
]
LARGER = ["rgb@448", "tok_rgb@448", "tok_depth@448"]
SEVEN = ["rgb@224", "caption", "color_palette", *GRIDS]


def raw(domains: list[str], dim: int = 8, depth: int = 1, targets: list[str] | None = None) -> dict:
    numbers = {"dim": dim, "encoder_depth": depth, "decoder_depth": depth, "num_heads": 2, "mlp_ratio": 4}
    switches = dict.fromkeys(["qkv_bias", "proj_bias", "mlp_bias", "norm_bias", "share_modality_embeddings"], False)
    outputs = [d for d in domains if d != "rgb@224"] if targets is None else targets
    kind = {"act_layer": "SiLU", "gated_mlp": True, "image_size": 224, "patch_size": 16}
    return {"domains_in": domains, "domains_out": outputs, **numbers, **switches, **kind}


def write(folder: Path, config: dict) -> Path:
    torch.manual_seed(0)
    save_transformer(Transformer(*parse_config(config, "the test")), folder)
    return folder


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary with the ids of 4M's, and made-up words."""
    special = ["[PAD]", "[UNK]", "[SOS]", "[EOS]", *(f"[S_{k}]" for k in range(200))]
    special += [f"v{k}={v}" for k in range(4) for v in range(1000)]
    every = [*special, *("a", "red", "car", "on", "road", "dog")]
    every += [f"w{k}" for k in range(30_000 - len(every))]
    tokenizer = Tokenizer(models.WordPiece({word: k for k, word in enumerate(every)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    path = tmp_path_factory.mktemp("words") / FILE
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def seven_published(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("published") / "4M", raw(SEVEN))
    shutil.copy(words, folder)
    return folder


@pytest.fixture
def copy(seven_published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seven_published, tmp_path / "copy"))


@pytest.fixture
def without_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Registry(environ={"ANYMODAL_DISABLE": "depth"})
    monkeypatch.setattr(published, "registry", lambda: limited)


def tokenizer(codebook: int = 8192) -> VQTokenizer:
    depth = am.registry().modality("depth")(codebook=codebook, latent=4)
    size = {"dim": 16, "depth": 1, "heads": 2}
    return VQTokenizer(depth.tokenizer_config(size, size)).eval()


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    left, right = ({p.name: p.tensor for p in parts(model)} for model in (ours, theirs))
    return left.keys() <= right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_published_model_has_the_modalities_with_the_published_numbers(seven_published):
    model = am.load(seven_published)
    assert sorted(model.modalities.modalities) == sorted(
        ["rgb", "caption", "color_palette", "normal", "depth", "semseg", "canny_edge"]
    )
    layout = model.modalities.layout
    assert layout["depth"].space.size == 8192 and layout["rgb"].space.size == 16384
    assert layout["color_palette"].space.length == 23 and layout.position_rows["caption"] == 512
    assert not layout["rgb.pixels"].target and len(model.modalities.vocabulary) == 30_000


def test_a_part_of_it_has_the_same_weights_and_needs_no_vocabulary(copy):
    whole = am.load(copy)
    (copy / FILE).unlink()
    part = am.load(copy, modalities=["depth", "rgb"])
    assert same(part.transformer, whole.transformer)
    half = am.load(copy, modalities="depth", dtype="bfloat16")
    assert half.transformer.input_table.dtype == torch.bfloat16 and "rgb" not in half.modalities


def test_a_single_file_is_a_model(seven_published, words, tmp_path):
    transformer = Transformer(*parse_config(raw(SEVEN), "the test"))
    path = save_transformer(transformer, tmp_path / "model.safetensors")
    model = am.load(path, vocabulary=words, modalities=["rgb", "caption"])
    assert same(model.transformer, transformer)


def test_a_missing_plugin_is_left_out_with_a_warning_or_refused_when_asked_for(seven_published, without_depth):
    with pytest.warns(UserWarning, match="loaded without depth.*pip install anymodal-depth"):
        assert "depth" not in am.load(seven_published).modalities
    assert "rgb" in am.load(seven_published, modalities=["rgb"]).modalities
    with pytest.raises(am.AnymodalError, match="depth"):
        am.load(seven_published, modalities=["rgb", "depth"])
    with pytest.raises(UnknownModality, match=r"no modality 'dept'; did you mean 'depth'\?"):
        am.load(seven_published, modalities=["dept"])


def test_a_model_at_two_sizes(tmp_path, words):
    config = raw(["rgb@224", "caption", "tok_rgb@224", "tok_depth@224", *LARGER], targets=LARGER[1:])
    model = am.load(write(tmp_path / "sr", config), vocabulary=words)
    layout = model.modalities.layout
    assert model.modalities["rgb"].larger == (448,)
    assert layout["rgb.448"].target and layout["rgb.448"].space.shape == (28, 28) and not layout["rgb"].target
    assert layout["rgb.pixels_448"].space.length == 784
    again = am.load(model.save_pretrained(tmp_path / "ours"))
    assert again.modalities.layout == layout and same(again.transformer, model.transformer)


# Tokenizers.


def test_only_tokenizers_that_are_needed_are_loaded(seven_published, tmp_path, picture):
    save_bare(tokenizer(), tmp_path / "4M_tokenizers_depth_8k_224-448")
    model = am.load(seven_published, tokenizers=tmp_path, local_files_only=True)
    assert model.modalities["depth"].pending is not None
    out = model.generate({"rgb": picture}, "depth")
    assert out["depth"].shape == (224, 224) and model.modalities["depth"].pending is None
    assert model.modalities["rgb"].pending is not None  # pixels were enough
    with pytest.raises(CheckpointError, match=r"tokenizer of 'rgb': .*local_files_only.*tokenizers=\{'rgb': PATH\}"):
        model.generate({"depth": out["depth"]}, "rgb")


def test_a_tokenizer_that_does_not_fit_is_refused(seven_published, tmp_path, picture, monkeypatch):
    save_bare(tokenizer(16), tmp_path / "depth")
    model = am.load(seven_published, modalities=["rgb", "depth"], tokenizers={"depth": tmp_path / "depth"})
    with pytest.raises(CheckpointError, match="has 16 ids, the model needs 8192 for 'depth'"):
        model.generate({"rgb": picture}, "depth")
    monkeypatch.setenv("ANYMODAL_TOKENIZERS", str(tmp_path))
    model = am.load(seven_published, modalities=["rgb", "depth"])
    assert str(tmp_path) in model.modalities["depth"].pending.place


def test_the_vocabulary_can_be_a_path(copy, words, monkeypatch):
    (copy / FILE).unlink()
    monkeypatch.setenv("ANYMODAL_4M_VOCABULARY", str(words))
    assert "caption" in am.load(copy).modalities
    monkeypatch.setenv("ANYMODAL_4M_VOCABULARY", "nowhere.json")
    with pytest.raises(CheckpointError, match=r"no such file: nowhere\.json"):
        am.load(copy)
    monkeypatch.delenv("ANYMODAL_4M_VOCABULARY")
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy))
    with pytest.raises(CheckpointError, match=r"4M's vocabulary: .*offline; pass vocabulary=PATH or set ANYMODAL_4M"):
        am.load(copy, local_files_only=True)


def test_presets_are_repositories():
    assert isinstance(resolve("4m-21-b"), Repository) and resolve("4m-21-b").name == "EPFL-VILAB/4M-21_B"
    assert PUBLISHED.keys() <= presets().keys()
    with pytest.raises(CheckpointError, match="did you mean '4m-21-b'"):
        resolve("4m21b")


# Cost.

MEASURE = """
import sys, json, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import anymodal as am
from anymodal.weights import WeightFile

def facts():
    lines = (line.split() for line in open("/proc/self/status"))
    return {words[0]: int(words[1]) * 1024 for words in lines if words[0] in ("VmHWM:", "VmRSS:")}

read = []
leave = WeightFile.__exit__
WeightFile.__exit__ = lambda self, *rest: (read.append(self.read), leave(self, *rest))[1]
small, large, words, *names = sys.argv[1:]
am.load(small, vocabulary=words, modalities=names or None)
Path("/proc/self/clear_refs").write_text("5")
before = facts()["VmRSS:"]
model = am.load(large, vocabulary=words, modalities=names or None)
tensors = [*model.transformer.parameters(), *model.transformer.buffers()]
print(json.dumps([read[-1], facts()["VmHWM:"] - before, sum(t.nbytes for t in tensors)]))
"""


def measure(small: Path, large: Path, words: Path, *names: str) -> list[int]:
    """Bytes read from the weights, how far memory rose at most, bytes of the tensors; in a process of its own."""
    command = [sys.executable, "-c", MEASURE, str(small), str(large), str(words), *names]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_three_of_the_modalities_cost_less_than_half(tmp_path, words):
    small, large = write(tmp_path / "small", raw(EVERY)), write(tmp_path / "large", raw(EVERY, 32, 4))
    read, peak, _ = measure(small, large, words, "rgb", "depth", "caption")
    whole_read, whole_peak, _ = measure(small, large, words)
    assert read < (large / "model.safetensors").stat().st_size / 2
    assert read < whole_read / 2
    assert peak < whole_peak / 2


def test_nothing_is_held_twice(tmp_path, words):
    names = [d for d in SEVEN if d not in ("caption", "color_palette")]
    _, peak, held = measure(write(tmp_path / "small", raw(names)), write(tmp_path / "large", raw(names, 256, 2)), words)
    assert peak < 1.15 * held


# Both formats.


@pytest.mark.parametrize("name", ["published", "published.safetensors"])
def test_round_trip_between_the_formats_is_bit_equal(seven_published, words, tmp_path, name):
    model = am.load(seven_published)
    model.modalities["depth"].tokenizer = VQTokenizer(
        model.modalities["depth"].tokenizer_config(*[{"dim": 512, "depth": 8, "heads": 8}] * 2)
    ).eval()
    ours = model.save_pretrained(tmp_path / "ours")
    notes = convert(ours, tmp_path / name)
    assert [note.split(";")[0] for note in notes] == ["one file holds no tokenizers"] * name.endswith(".safetensors")
    convert(tmp_path / name, tmp_path / "again", words)
    first, second = (load_file(folder / "model.safetensors") for folder in (ours, tmp_path / "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, tmp_path / "again")]
    assert configs[0]["model"] == configs[1]["model"]
    assert list(configs[0]["modalities"]) == list(configs[1]["modalities"])
    if not name.endswith(".safetensors"):
        first, second = (load_file(f / "modalities/depth/model.safetensors") for f in (ours, tmp_path / "again"))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_what_the_other_format_cannot_hold_is_refused(checkpoint, seven_published, without_depth, tmp_path):
    with pytest.raises(CheckpointError, match="is not that of 4M's domain"):
        convert(checkpoint, tmp_path / "published")
    with pytest.raises(am.AnymodalError, match="depth"):
        convert(seven_published, tmp_path / "ours")
    assert not list(tmp_path.iterdir())


def test_tokenizers_are_converted_both_ways(tmp_path):
    modality = am.registry().modality("depth")()
    made = VQTokenizer(modality.tokenizer_config(*[{"dim": 512, "depth": 8, "heads": 8}] * 2)).eval()
    save_bare(made, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "published")
    assert json.loads((tmp_path / "published" / "config.json").read_text())["enc_type"] == "vit_s_enc"
    convert(tmp_path / "published", tmp_path / "again")
    first, second = (load_file(tmp_path / part / "model.safetensors") for part in ("ours", "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_command_converts(seven_published, words, tmp_path):
    done = CliRunner().invoke(cli, ["convert", str(seven_published), str(tmp_path / "ours"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["target"] == str(tmp_path / "ours")
    assert "load from the Hub when first needed" in done.stderr
    assert am.load(tmp_path / "ours").modalities["depth"].pending.place == "EPFL-VILAB/4M_tokenizers_depth_8k_224-448"
    done = CliRunner().invoke(cli, ["models", "--json"])
    assert {"4m-21-b", "4m-7-sr-l"} <= {row["name"] for row in json.loads(done.stdout)["models"]}


@pytest.mark.skipif(not (SHARED / "golden" / "shapes").is_dir(), reason="the list of published keys is not here")
@pytest.mark.parametrize("name", ["4M-21_B", "4M-7_B"])
def test_a_small_model_has_exactly_the_published_keys(name, tmp_path):
    recorded = json.loads((SHARED / "golden" / "shapes" / f"{name}.json").read_text())
    folder = write(tmp_path / name, recorded["config"] | {"dim": 4, "num_heads": 2})
    assert load_file(folder / "model.safetensors").keys() == recorded["state_dict_shapes"].keys()


# Bad files.


def change(folder: Path, edit: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))


def lie(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + path.read_bytes()[8:])


def pickled(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words_"),
    [
        (lie, "not a whole safetensors file"),
        (pickled, "is a pickle, which may run code"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles, are not read"),
        (lambda f: change(f, lambda c: c["domains_in"].append("tok_sonar@224")), "'sonar' of its own needs"),
        (lambda f: change(f, lambda c: c.pop("domains_in")), "does not describe"),
        (lambda f: change(f, lambda c: c.update(act_layer="Mish")), "act_layer must be one of"),
        (lambda f: change(f, lambda c: c.update(dim=12)), "its config says"),
        (lambda f: (f / "config.json").write_text('{"enc_type": "vit_b_enc"}'), "tokenizer of one modality"),
    ],
)  # fmt: skip
def test_damage_is_named(copy, damage, words_):
    damage(copy)
    with pytest.raises(CheckpointError, match=words_):
        am.load(copy)


def test_a_pickle_beside_a_model_and_a_file_alone(copy):
    pickled(copy)
    with pytest.raises(CheckpointError, match="is a pickle"):
        am.load(copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="neither a preset nor a folder"):
        am.load(str(copy / "gone.safetensors"))


def test_weights_that_are_not_finite_are_warned_of(copy):
    path = copy / "model.safetensors"
    state = load_file(path)
    state["encoder.0.mlp.fc1.weight"][0, 0] = float("nan")
    save_file(state, path)
    with pytest.warns(UserWarning, match=r"'encoder\.0\.mlp\.fc1\.weight' in .* holds NaN or infinity"):
        am.load(copy)


@pytest.mark.parametrize(
    ("index", "words_"),
    [
        ({}, "must hold a 'weight_map'"),
        ({"weight_map": {"a": "../model.safetensors"}}, "shards are .safetensors files beside it"),
        ({"weight_map": {"query": "model-00001-of-00002.safetensors"}}, "has no tensor|no such file"),
    ],
)
def test_a_damaged_index_is_named(checkpoint, tmp_path, index, words_):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=words_):
        am.load(folder)


def test_shards_and_single_files_replace_each_other(small_model, tmp_path):
    folder = small_model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert all(p.stat().st_size < 60_000 or "00001" for p in folder.glob("model-*"))
    assert same(am.load(folder).transformer, small_model.transformer)
    small_model.save_pretrained(folder)
    assert sorted(p.name for p in folder.glob("model*")) == ["model.safetensors"]
    assert same(am.load(folder).transformer, small_model.transformer)
    with pytest.raises(am.ConfigError, match="a size is"):
        small_model.save_pretrained(folder, max_shard_size="big")


# The card.


def test_the_usage_of_the_card_works(small_model, tmp_path, monkeypatch):
    from PIL import Image

    from anymodal.card import About

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save("photo.jpg")
    monkeypatch.setattr(small_model, "about", About(training_data="Rendered scenes.", licence="apache-2.0"))
    folder = small_model.save_pretrained("mine")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n") and "Rendered scenes." in card and "| `depth` |" in card
    exec(card.partition("```python\n")[2].partition("```")[0], {})
    assert list(Path("out").glob("depth.*"))
    assert am.load(folder).about == small_model.about
    with pytest.raises(am.ConfigError, match="licence"):
        About(licence="as you like")
