"""Published 4M checkpoints as models of ours: parts of them, tokenizers when needed, what they cost, and the card."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from published_made import GRIDS, SEVEN, config_of, same, write_model

import anymodal as am
from anymodal.checkpoints.formats.fourm import vocabulary
from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.checkpoints.formats.fourm.format import PUBLISHED
from anymodal.checkpoints.formats.fourm.layout import VOCABULARY as FILE
from anymodal.checkpoints.formats.fourm.model import save_transformer
from anymodal.checkpoints.formats.native.tokenizer import save_native_tokenizer
from anymodal.checkpoints.presets import presets, resolve
from anymodal.checkpoints.repository import Repository
from anymodal.errors import CheckpointError, UnknownModality
from anymodal.files import cache_folder
from anymodal.model import Transformer
from anymodal.tokenizers.tokenizer import VQTokenizer

EVERY = [
    *("caption", "t5_caption", "det", "metadata", "human_poses", "color_palette", "sam_instance", "rgb@224", *GRIDS),
    *("tok_clip@224", "tok_dinov2@224", "tok_dinov2_global", "tok_imagebind@224", "tok_imagebind_global"),
    "tok_sam_edge@224",
]
LARGER = ["rgb@448", "tok_rgb@448", "tok_depth@448"]


def tokenizer(codebook: int = 8192) -> VQTokenizer:
    depth = am.registry().modality("depth")(codebook=codebook, latent=4)
    size = {"dim": 16, "depth": 1, "heads": 2}
    return VQTokenizer(depth.tokenizer_config(size, size)).eval()


def test_a_published_model_has_the_modalities_with_the_published_numbers(seven_published):
    model = am.load(seven_published)
    assert sorted(model.modalities.modalities) == sorted(
        ["rgb", "caption", "color_palette", "normal", "depth", "semseg", "canny_edge"]
    )
    layout = model.modalities.layout
    assert layout["depth"].space.size == 8192 and layout["rgb"].space.size == 16384
    assert layout["color_palette"].space.length == 23 and layout.position_rows["caption"] == 512
    assert not layout["rgb.pixels"].target and len(model.modalities.vocabulary) == 30_000


def test_a_part_of_it_has_the_same_weights_and_needs_no_vocabulary(published_copy):
    whole = am.load(published_copy)
    (published_copy / FILE).unlink()
    part = am.load(published_copy, modalities=["depth", "rgb"])
    assert same(part.transformer, whole.transformer)
    half = am.load(published_copy, modalities="depth", dtype="bfloat16")
    assert half.transformer.input_table.dtype == torch.bfloat16 and "rgb" not in half.modalities


def test_a_single_file_is_a_model(seven_published, published_words, tmp_path):
    transformer = Transformer(*parse_model_config(config_of(SEVEN), "the test"))
    path = save_transformer(transformer, tmp_path / "model.safetensors")
    model = am.load(path, vocabulary=published_words, modalities=["rgb", "caption"])
    assert same(model.transformer, transformer)


def test_a_missing_plugin_is_left_out_with_a_warning_or_refused_when_asked_for(seven_published, without_depth):
    with pytest.warns(UserWarning, match="loaded without depth.*pip install anymodal-depth"):
        assert "depth" not in am.load(seven_published).modalities
    assert "rgb" in am.load(seven_published, modalities=["rgb"]).modalities
    with pytest.raises(am.AnymodalError, match="depth"):
        am.load(seven_published, modalities=["rgb", "depth"])
    with pytest.raises(UnknownModality, match=r"no modality 'dept'; did you mean 'depth'\?"):
        am.load(seven_published, modalities=["dept"])


def test_a_model_at_two_sizes(tmp_path, published_words):
    config = config_of(["rgb@224", "caption", "tok_rgb@224", "tok_depth@224", *LARGER], targets=LARGER[1:])
    model = am.load(write_model(tmp_path / "sr", config), vocabulary=published_words)
    layout = model.modalities.layout
    assert model.modalities["rgb"].larger == (448,)
    assert layout["rgb.448"].target and layout["rgb.448"].space.shape == (28, 28) and not layout["rgb"].target
    assert layout["rgb.pixels_448"].space.length == 784
    again = am.load(model.save_pretrained(tmp_path / "ours"))
    assert again.modalities.layout == layout and same(again.transformer, model.transformer)


# Tokenizers.


def test_only_tokenizers_that_are_needed_are_loaded(seven_published, tmp_path, picture):
    save_native_tokenizer(tokenizer(), tmp_path / "4M_tokenizers_depth_8k_224-448")
    model = am.load(seven_published, tokenizers=tmp_path, local_files_only=True)
    assert model.modalities["depth"].pending is not None
    out = model.generate({"rgb": picture}, "depth")
    assert out["depth"].shape == (224, 224) and model.modalities["depth"].pending is None
    assert model.modalities["rgb"].pending is not None  # pixels were enough
    with pytest.raises(CheckpointError, match=r"tokenizer of 'rgb': .*local_files_only.*tokenizers=\{'rgb': PATH\}"):
        model.generate({"depth": out["depth"]}, "rgb")


def test_a_tokenizer_that_does_not_fit_is_refused(seven_published, tmp_path, picture, monkeypatch):
    save_native_tokenizer(tokenizer(16), tmp_path / "depth")
    model = am.load(seven_published, modalities=["rgb", "depth"], tokenizers={"depth": tmp_path / "depth"})
    with pytest.raises(CheckpointError, match="has 16 ids, the model needs 8192 for 'depth'"):
        model.generate({"rgb": picture}, "depth")
    monkeypatch.setenv("ANYMODAL_TOKENIZERS", str(tmp_path))
    model = am.load(seven_published, modalities=["rgb", "depth"])
    assert str(tmp_path) in model.modalities["depth"].pending.place


def test_the_vocabulary_can_be_a_path(published_copy, published_words, monkeypatch):
    (published_copy / FILE).unlink()
    monkeypatch.setenv("ANYMODAL_4M_VOCABULARY", str(published_words))
    assert "caption" in am.load(published_copy).modalities
    monkeypatch.setenv("ANYMODAL_4M_VOCABULARY", "nowhere.json")
    with pytest.raises(CheckpointError, match=r"no such file: nowhere\.json"):
        am.load(published_copy)
    monkeypatch.delenv("ANYMODAL_4M_VOCABULARY")
    monkeypatch.delenv("ANYMODAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(published_copy))
    with pytest.raises(CheckpointError, match=r"4M's vocabulary: .*offline; pass vocabulary=PATH or set ANYMODAL_4M"):
        am.load(published_copy, local_files_only=True)


def test_the_vocabulary_is_kept_in_the_folder_of_caches(published_copy, published_words, tmp_path, monkeypatch):
    (published_copy / FILE).unlink()
    monkeypatch.delenv("ANYMODAL_4M_VOCABULARY", raising=False)
    monkeypatch.setattr(vocabulary, "SHA256", hashlib.sha256(published_words.read_bytes()).hexdigest())
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "big disk"))
    (tmp_path / "big disk").mkdir()
    shutil.copy(published_words, tmp_path / "big disk")
    assert "caption" in am.load(published_copy, local_files_only=True).modalities
    monkeypatch.delenv("ANYMODAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "anymodal"
    with pytest.raises(CheckpointError, match=f"{tmp_path}/anymodal/.* is missing"):
        am.load(published_copy, local_files_only=True)


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
from anymodal.checkpoints.weights import WeightFile

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


def test_three_of_the_modalities_cost_less_than_half(tmp_path, published_words):
    small, large = (
        write_model(tmp_path / "small", config_of(EVERY)),
        write_model(tmp_path / "large", config_of(EVERY, 32, 4)),
    )
    read, peak, _ = measure(small, large, published_words, "rgb", "depth", "caption")
    whole_read, whole_peak, _ = measure(small, large, published_words)
    assert read < (large / "model.safetensors").stat().st_size / 2
    assert read < whole_read / 2
    assert peak < whole_peak / 2


def test_nothing_is_held_twice(tmp_path, published_words):
    names = [d for d in SEVEN if d not in ("caption", "color_palette")]
    _, peak, held = measure(
        write_model(tmp_path / "small", config_of(names)),
        write_model(tmp_path / "large", config_of(names, 256, 2)),
        published_words,
    )
    assert peak < 1.15 * held


# The card.


def test_the_usage_of_the_card_works(small_model, tmp_path, monkeypatch):
    from PIL import Image

    from anymodal.checkpoints.record import About

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save("photo.jpg")
    monkeypatch.setattr(small_model, "about", About(training_data="Rendered scenes.", license="apache-2.0"))
    folder = small_model.save_pretrained("mine")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n") and "Rendered scenes." in card and "| `depth` |" in card
    exec(card.partition("```python\n")[2].partition("```")[0], {})
    assert list(Path("out").glob("depth.*"))
    assert am.load(folder).about == small_model.about
    with pytest.raises(am.ConfigError, match="license"):
        About(license="as you like")
    with pytest.raises(am.ConfigError, match="license must be text, got 5"):
        About(license=5)
    with pytest.raises(am.ConfigError, match="about must be an anymodal"):
        small_model.about = "Rendered scenes."
