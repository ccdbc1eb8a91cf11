"""Whole models as graphs: what they generate is what PyTorch generates."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from small_runs import command

import anymodal as am
from anymodal.errors import AnymodalError, CheckpointError, ConfigError, GenerationError, ValueProblem
from anymodal.export import export_onnx
from anymodal.export.check import checked
from anymodal.export.precision import PRECISIONS, stored
from anymodal.export.tokenizer import tokenizer_drafts
from anymodal.sessions.manifest import MANIFEST, TokenizerGraphs
from anymodal.sessions.tokenizer import tokenizer_of_graphs
from anymodal.testing.tiny import equip, shrunk, tiny_model
from anymodal.tokenizers.config import NoiseConfig, TokenizerConfig, UViTConfig, ViTConfig
from anymodal.tokenizers.diffusion import build
from anymodal.tokenizers.quantizers.config import CosineConfig

pytest.importorskip("onnxscript")
NAMES = ["rgb", "semseg", "caption", "dinov2_global"]
PICTURE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return tiny_model(NAMES)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("graphs")
    export_onnx(model, place)
    return place


@pytest.fixture(scope="module")
def graphs(folder):
    return am.load(folder, backend="onnx")


REQUESTS = {
    "defaults": {},
    "mean": {"options": {"semseg": {"scheme": "mean"}}},
    "guided": {"guidance": 2.0, "steps": 3, "seed": 4},
    "weights": {"weights": {"rgb": 1.5}, "steps": 3},
    "apart": {"chain": False, "steps": 2},
    "several": {"options": {"semseg": {"samples": 2}}, "steps": 2},
    "beams": {"options": {"caption": {"scheme": "beam"}}, "steps": 2},
}


@pytest.mark.slow
class TestModel:
    @pytest.mark.parametrize("how", REQUESTS.values(), ids=REQUESTS)
    def test_it_generates_what_pytorch_generates(self, model, graphs, how):
        wanted, found = (
            each.generate({"rgb": PICTURE}, ["semseg", "caption", "dinov2_global"], **how) for each in (model, graphs)
        )
        assert wanted["caption"] == found["caption"]
        for name in wanted.tokens:
            np.testing.assert_array_equal(wanted.tokens[name], found.tokens[name])
        np.testing.assert_allclose(wanted["dinov2_global"], found["dinov2_global"], atol=1e-4)

    def test_text_becomes_a_picture(self, model, graphs):
        wanted, found = (each.generate({"caption": "a red car"}, "rgb", steps=3) for each in (model, graphs))
        assert np.abs(wanted["rgb"].astype(int) - found["rgb"]).max() <= 1

    def test_blanks_are_filled_and_parts_kept(self, model, graphs):
        mask = np.zeros((32, 32), bool)
        mask[:, :16] = True
        for inputs, target, keep in (
            ({"caption": "a ___ car"}, "caption", {"caption": True}),
            ({"rgb": PICTURE}, "rgb", {"rgb": mask}),
        ):
            wanted, found = (each.generate(inputs, target, keep=keep, steps=2) for each in (model, graphs))
            np.testing.assert_array_equal(wanted.tokens[target], found.tokens[target])

    def test_a_sample_of_a_batch_is_what_it_is_alone(self, graphs):
        inputs = [{"rgb": PICTURE}, {"rgb": PICTURE, "caption": "a car"}, {"caption": "a dog"}]
        together = graphs.generate_batch(inputs, "semseg", seed=5, steps=2)
        for number, each in enumerate(inputs):
            alone = graphs.generate(each, "semseg", seed=5 + number, steps=2)
            np.testing.assert_array_equal(alone.tokens["semseg"], together[number].tokens["semseg"])

    def test_tokens_and_features_are_those_of_pytorch(self, model, graphs):
        wanted, found = (each.tokenize({"rgb": PICTURE}) for each in (model, graphs))
        for name, tokens in wanted.items():
            np.testing.assert_allclose(tokens, found[name], atol=1e-6)
        wanted, found = (each.features({"rgb": PICTURE, "caption": "a car"}).states for each in (model, graphs))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)

    def test_what_needs_weights_says_so(self, graphs, tmp_path):
        with pytest.raises(CheckpointError, match="has no weights to save"):
            graphs.save_pretrained(tmp_path / "saved")
        with pytest.raises(ConfigError, match="cannot be trained"):
            graphs.transformer.train()
        with pytest.raises(GenerationError, match="leave refresh at 1"):
            graphs.generate({"rgb": PICTURE}, "semseg", refresh=2)
        with pytest.raises(ConfigError, match="leave out layers"):
            graphs.features({"rgb": PICTURE}, layers=[0])
        with pytest.raises(ConfigError, match="there is no block 9"):
            graphs.features({"rgb": PICTURE}, layers=[9])
        with pytest.raises(CheckpointError, match="has no weights to save"):
            export_onnx(graphs, tmp_path / "again")

    def test_a_run_is_told_from_those_of_other_weights(self, model, graphs):
        first, second, third = (
            each.generate({"rgb": PICTURE}, "semseg", steps=1).run.fingerprint for each in (model, graphs, graphs)
        )
        assert second == third and first.difference(second) == "transformer, semseg.decoder"
        assert graphs.modalities["rgb"].tokenizer.fingerprint() == model.modalities["rgb"].tokenizer.fingerprint()


@pytest.mark.slow
class TestFolder:
    def test_the_manifest_says_what_a_program_needs(self, model, folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        assert {graph["file"] for graph in manifest["heads"].values()} < {
            str(path.relative_to(folder)) for path in folder.rglob("*.onnx")
        }
        layout = model.modalities.layout
        for stream in manifest["streams"]:
            assert stream["position_row"] == layout.positions[stream["name"]].start
        caption = next(s for s in manifest["streams"] if s["name"] == "caption")
        assert (caption["kind"], caption["head"]) == ("sequence", layout.outputs["caption"].key)
        assert manifest["sampling"]["semseg"]["grounded"]["scheme"]
        assert manifest["encode"]["inputs"]["ids"]["shape"] == ["batch", "tokens"]
        assert manifest["encode"]["error"] < 1e-5
        assert manifest["modalities"]["rgb"]["mean"] == list(model.modalities["rgb"].mean)

    def test_a_damaged_graph_is_refused(self, folder, tmp_path):
        place = shutil.copytree(folder, tmp_path / "copy")
        content = bytearray((place / "decode.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (place / "decode.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"decode\.onnx is not the graph that was exported"):
            am.load(place).generate({"rgb": PICTURE}, "semseg", steps=1)
        (place / "decode.onnx").unlink()
        with pytest.raises(CheckpointError, match=r"no such file: .*decode\.onnx"):
            am.load(place).generate({"rgb": PICTURE}, "semseg", steps=1)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda m: m.update(format_version=9), "run anymodal export again"),
            (lambda m: m["encode"].update(file="../../secret.onnx"), "cannot be a file beside it"),
            (lambda m: m["streams"][0].update(position_row=7), "are not those of its graphs"),
            (lambda m: m.pop("read"), "read"),
        ],
    )
    def test_a_manifest_that_cannot_be_is_refused(self, folder, tmp_path, change, words):
        place = shutil.copytree(folder, tmp_path / "copy")
        manifest = json.loads((place / MANIFEST).read_text())
        change(manifest)
        (place / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match=words):
            am.load(place)

    def test_a_folder_of_something_else_is_left_alone(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(CheckpointError, match="choose another folder"):
            export_onnx(model, tmp_path)
        assert sorted(tmp_path.rglob("*")) == before

    def test_weights_and_numbers_of_other_kinds_are_refused(self, folder):
        with pytest.raises(ConfigError, match="no weights for PyTorch"):
            am.load(folder, backend="torch")
        with pytest.raises(ConfigError, match="--precision"):
            am.load(folder, dtype="float16")
        with pytest.raises(ConfigError, match="float32, got precision bfloat16; leave it out"):
            am.load(folder, precision="bfloat16")
        with pytest.raises(ConfigError, match="graphs of its tokenizers"):
            am.load(folder, tokenizers={"rgb": folder})
        with pytest.raises(AnymodalError, match="has no modality 'depth'"):
            am.load(folder, modalities=["depth"])

    def test_another_size_is_refused_with_those_that_there_are(self, graphs):
        with pytest.raises(ValueProblem, match="has graphs for 32x32 pixels, not for 64x64"):
            graphs.modalities["rgb"].tokenizer.encode(torch.zeros(1, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", am.modalities())
def test_the_tokenizer_of_every_modality_is_exported(name, tmp_path):
    modality = equip(shrunk(am.registry().modality(name)))
    if modality.tokenizer is None:
        pytest.skip("no tokenizer")
    assert converted(modality, tmp_path).encode


@pytest.mark.slow
def test_a_decoder_that_denoises_draws_outside_of_its_graph(tmp_path):
    class Sharp(am.ImageModality):
        channels, low, high, size, patch = 3, 0.0, 255.0, 32, 8

    torch.manual_seed(0)
    modality = Sharp()
    config = TokenizerConfig(
        kind="vit",
        channels=3,
        encoder=ViTConfig(dim=16, depth=1, heads=2, patch=8),
        decoder=UViTConfig(patch=2, widths=(32, 32), blocks=1, dim=32, depth=1, heads=2),
        quantizer=CosineConfig(size=16, latent=4),
        noise=NoiseConfig(),
        image_size=32,
    )
    modality.tokenizer = build(config).eval()
    found = tokenizer_of_graphs(tmp_path.joinpath, converted(modality, tmp_path))
    ids = torch.randint(16, (2, 16))
    wanted = modality.tokenizer.decode(ids, steps=3, seed=[1, 2])
    torch.testing.assert_close(found.decode(ids, steps=3, seed=[1, 2]), wanted, rtol=1e-3, atol=1e-4)


def converted(modality, folder) -> TokenizerGraphs:
    """The graphs of a tokenizer, each compared with PyTorch."""
    made, precision = {}, PRECISIONS["float32"]
    for name, draft in tokenizer_drafts(modality):
        (folder / f"{name}.onnx").write_bytes(stored(draft.build(), precision).SerializeToString())
        made[name] = checked(draft, folder, f"{name}.onnx", precision)
    sized = {kind: {n.partition("-")[2]: g for n, g in made.items() if n.startswith(kind)} for kind in ("encode", "de")}
    return TokenizerGraphs(
        config=modality.tokenizer.config,
        fingerprint="",
        codebooks=modality.tokenizer.quantize.codebooks,
        encode=sized["encode"],
        lookup=made["lookup"],
        mean=made["mean"],
        decode={} if modality.tokenizer.config.noise else sized["de"],
        denoise=sized["de"] if modality.tokenizer.config.noise else {},
    )


@pytest.mark.slow
def test_the_command_exports_a_model_that_has_no_pictures(tmp_path, capsys):
    """Its encoder takes no rows of pixels, so its graph has fewer inputs than those of other models."""
    tiny_model(["caption", "metadata_image"]).save_pretrained(tmp_path / "model")
    assert command("export", tmp_path / "model", "--onnx", tmp_path / "graphs", "--modalities", "caption") == 0
    assert "4 graphs" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "graphs" / MANIFEST).read_text())
    assert "caption" in json.dumps(manifest) and "metadata_image" not in json.dumps(manifest)
