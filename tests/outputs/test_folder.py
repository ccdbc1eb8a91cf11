"""Outputs that are saved, loaded and made again are the same; a folder of a stranger is checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file
from small_runs import command

import anymodal as am
from anymodal.errors import CheckpointError, UnknownModality
from anymodal.model import ModelConfig
from anymodal.outputs.equality import same
from anymodal.sampling.guidance import Interval, as_guidance
from anymodal.tokenizers.tokenizer import VQTokenizer

SMALL = {"dim": 32, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def model():
    return am.load("tiny")


@pytest.fixture(scope="module")
def outputs(model):
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    targets = ["depth", "normal", "semseg", "caption", "clip", "sam_instance"]
    options = {"depth": {"scheme": "mean"}, "normal": {"scheme": "roar"}}
    return model.generate({"rgb": picture}, targets, seed=5, options=options, steps=1)


@pytest.fixture(scope="module")
def saved(outputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs") / "out"
    outputs.save(folder)
    return folder


def test_what_is_loaded_is_what_was_saved(outputs, saved):
    back = am.Outputs.load(saved)
    assert list(back) == list(outputs) and list(back.inputs) == ["rgb"]
    for name in outputs:
        assert same(back[name], outputs[name]), name
    assert back == outputs and outputs == back
    assert back.run == outputs.run and back.run.seed == 5 and back.run.origin.model == "tiny"
    assert back.run.options["depth"]["scheme"] == "mean" and back.run.versions["anymodal"]
    back.values_by_name["depth"] = back["depth"] + np.float32(1e-6)
    assert back != outputs


def test_weights_are_kept_with_all_of_their_digits(small_model):
    """Thirds that are cut to six digits lie on the other side of a share that is decided."""
    third, block = Interval(2, 1 / 3, 2 / 3), {"name": "rising", "scale": 2.5, "power": 0.1}
    inputs = {"depth": np.ones((32, 32), np.float32), "caption": "a car"}
    run = small_model.generate(inputs, "rgb", weights={"depth": third, "caption": block}, steps=1).run
    kept = [as_guidance(run.weights[name]) for name in inputs]
    assert kept == [third, as_guidance(block)] and kept[0].scale_at(6 / 9) == third.scale_at(6 / 9) == 1
    assert str(as_guidance(0.1)) == "0.1" and str(as_guidance(1.2345678)) == "1.2345678"


def test_inputs_that_guided_are_loaded_with_their_weights(small_model, tmp_path):
    """Numbers, and guidances by name."""
    inputs, weights = {"depth": np.ones((32, 32), np.float32), "caption": "a car"}, {"depth": 2, "caption": "rising:3"}
    out = small_model.generate(inputs, "rgb", weights=weights, steps=2)
    out.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out").run.weights == {"depth": 2.0, "caption": "rising:3"}
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    run["run"]["weights"]["depth"] = True
    (tmp_path / "out" / "run.json").write_text(json.dumps(run))
    with pytest.raises(am.DataError, match="must be a number or text"):
        am.Outputs.load(tmp_path / "out")


def test_loaded_outputs_are_shown_and_saved_as_before(saved, tmp_path):
    am.Outputs.load(saved).save(tmp_path / "again")
    names = sorted(str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file())
    assert names == sorted(
        str(p.relative_to(tmp_path / "again")) for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for name in names:
        if not name.startswith("tokens"):  # whose order of names is another
            assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_outputs_that_take_the_place_of_others_are_read_without_what_those_had(small_model, tmp_path):
    """A text of several draws, and then one of a single draw, which is another length."""
    before = small_model.generate({}, "caption", samples=3, temperature=1.0)
    before.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == before and "caption" in before.uncertainty
    after = small_model.generate({}, "caption", samples=1, seed=1, start={"caption": "a red car"})
    after.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == after and not after.uncertainty


@pytest.mark.parametrize("said", ["[", "[]", '{"values": 3, "inputs": {"rgb": 3}}'])
def test_a_folder_whose_record_is_damaged_is_written_to(said, outputs, tmp_path):
    (tmp_path / "out" / "inputs").mkdir(parents=True)
    (tmp_path / "out" / "run.json").write_text(said)
    outputs.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == outputs


def test_a_hostile_record_has_no_other_files_removed(outputs, tmp_path):
    files = {name: {"file": name} for name in ("../mine.png", "*.png", "**/*", "inputs/../mine.png", "/etc/passwd")}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text(json.dumps({"values": files, "inputs": files}))
    for name in ("mine.png", "out/mine.png", "mine.png.view.png", "out/mine.view.png"):
        (tmp_path / name).write_text("mine")
    outputs.save(tmp_path / "out")
    assert (tmp_path / "mine.png").is_file() and (tmp_path / "out" / "mine.png").is_file()
    assert (tmp_path / "mine.png.view.png").is_file() and (tmp_path / "out" / "mine.view.png").is_file()


def test_a_value_that_is_not_its_tokens_says_so_and_both_can_be_had(outputs, saved):
    assert outputs.schemes["depth"] == "mean" and "normal" not in outputs.schemes and "depth (mean)" in repr(outputs)
    assert not same(outputs.decoded("depth"), outputs["depth"])
    assert same(outputs.decoded("normal"), outputs["normal"])
    assert same(outputs.decoded("depth"), outputs.modalities.detokenize({"depth": outputs.tokens["depth"]})["depth"])
    with Image.open(saved / "depth.png") as picture:
        assert json.loads(picture.text["anymodal"])["scheme"] == "mean"
    assert json.loads((saved / "run.json").read_text())["values"]["depth"]["scheme"] == "mean"
    with pytest.raises(am.CheckpointError, match="depth has no tokenizer; load a checkpoint"):
        am.Outputs.load(saved).decoded("depth")


def test_files_that_look_black_have_a_picture_beside_them(saved):
    views = {path.name for path in saved.glob("*.view.png")}
    assert views == {"depth.view.png", "semseg.view.png", "clip.view.png"}
    with Image.open(saved / "depth.view.png") as view:
        assert np.asarray(view).std() > 10 and view.height > view.width == 512  # with its legend below


def test_a_truth_of_nothing_that_there_is_is_told(tmp_path):
    """Of a whole sample, more may be given than was made."""
    members = am.ModalitySet([am.plain_text("title")(), am.plain_text("story")()])
    made = am.Outputs(members, {"title": "a car"}, {}, {})
    taller = made.show({"title": "a bus", "story": "of a bus"}).height - made.show({"story": "of a bus"}).height
    assert taller > 256
    for show in (made.show, lambda truth: made.save(tmp_path / "out", truth)):
        with pytest.raises(UnknownModality, match="did you mean 'title'"):
            show({"titel": "a bus"})


@pytest.mark.parametrize("name", ["grid", "run"])
def test_values_named_as_files_of_the_folder_are_saved_too(name, tmp_path):
    """Such as `grid`, whose file the sheet of all values replaced."""
    picture = am.image("grid", dtype="uint8", high=255.0, size=16, patch=8)
    cls, value = {
        "grid": (picture, np.full((16, 16, 3), 7, np.uint8)),
        "run": (am.numbers("run", fields={"rain": am.Number(0)}), {"rain": 3}),
    }[name]
    made = am.Outputs(am.ModalitySet([cls()]), {name: value}, {name: value}, {})
    files = made.save(tmp_path)
    assert len(set(files)) == len(files) and am.Outputs.load(tmp_path) == made
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width > 16


def test_outputs_without_a_run_are_saved_too(tmp_path):
    depth = am.registry().modality("depth")()
    outputs = am.Outputs(am.ModalitySet([depth]), {"depth": np.ones((4, 4), np.float32)}, {}, {})
    outputs.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == outputs
    assert command("repeat", tmp_path / "out") == 2


# Again.


def test_a_run_repeats_itself(outputs, saved, tmp_path, capsys):
    folder = shutil.copytree(saved, tmp_path / "out")
    for name in ("depth.png", "tokens.safetensors", "grid.png"):
        (folder / name).unlink()
    assert command("repeat", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    assert am.Outputs.load(folder) == outputs


def test_what_repeats_looks_for_the_parts_of_the_model_where_it_is_told(saved, capsys, monkeypatch):
    asked = {}

    def stopped(name, **options):
        asked.update(options, name=name)
        raise CheckpointError("stopped")

    monkeypatch.setattr(am.anymodel, "load", stopped)
    words = ["--device", "cpu", "--tokenizers", "rgb=there", "--local-files-only", "--cache-dir", "cache"]
    assert command("repeat", saved, *words) == 2 and capsys.readouterr().err == "error: stopped\n"
    told = {"device": "cpu", "tokenizers": {"rgb": "there"}, "local_files_only": True, "cache_dir": Path("cache")}
    assert asked.items() >= {"name": "tiny", "dtype": "float32", **told}.items()


def test_what_was_upscaled_repeats_itself(tmp_path, capsys):
    torch.manual_seed(0)
    planet = am.image("planet", channels=3, size=32, patch=8, codebook=32, latent=8, larger=(64,))()
    planet.tokenizer = VQTokenizer(planet.tokenizer_config(SMALL, SMALL)).eval()
    members = am.ModalitySet([planet])
    am.AnyModel(members, ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)).save_pretrained(tmp_path / "m")
    model = am.load(tmp_path / "m")
    coarse = model.generate({}, "planet", seed=2, temperature=1.0)
    finer = model.upscale(coarse, options={"planet": {"steps": 3, "temperature": 1.5}}, seed=4)
    assert same(finer.source, coarse.tokens) and list(finer.tokens) == ["planet.64"]
    finer.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == finer
    capsys.readouterr()
    assert command("repeat", tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["same"] is True
    assert am.Outputs.load(tmp_path / "out") == finer
    save_file({"planet": coarse.tokens["planet"][::-1].copy()}, tmp_path / "out" / "source.safetensors")
    assert command("repeat", tmp_path / "out") == 1


def test_what_differs_is_told_and_not_written(saved, tmp_path, capsys):
    folder = shutil.copytree(saved, tmp_path / "out")
    raw = json.loads((folder / "run.json").read_text())
    raw["run"]["seed"], raw["run"]["versions"]["torch"] = 6, "0.1"
    (folder / "run.json").write_text(json.dumps(raw))
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    assert command("repeat", folder) == 1
    said = capsys.readouterr().out
    assert "normal: another file" in said and "depth: the same file" in said and "and was 0.1" in said
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.*")}


def test_a_model_with_another_decoder_is_not_the_same(saved, tmp_path, capsys, monkeypatch):
    real = am.anymodel.load

    def exchanged(*arguments, **options):
        loaded = real(*arguments, **options)
        with torch.no_grad():
            next(loaded.modalities["normal"].tokenizer.decoder.parameters()).add_(1e-3)
        return loaded

    monkeypatch.setattr(am.anymodel, "load", exchanged)
    assert command("repeat", saved, "--out", tmp_path / "again", "--quiet") == 2
    assert "is not the model that made" in (said := capsys.readouterr().err) and "normal.decoder" in said
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "0" * 32}, "tiny is not the model that made"),
        ({"fingerprint": {"modalities": {"depth.decoder": "0" * 32}}}, "depth.decoder"),
        ({"finer": True}, "source.safetensors cannot be read"),
        ({"origin": {"model": ""}}, "its model had not been loaded"),
        ({"targets": ["nosuch"]}, "nosuch"),
        ({"options": {"depth": {"stepz": 3}}}, "stepz"),
        ({"weights": {"rgb": "wide"}}, "weight"),
        ({"dtype": "int3"}, "int3"),
    ],
)
def test_what_cannot_be_repeated_is_one_sentence(change, said, saved, tmp_path, capsys):
    folder = shutil.copytree(saved, tmp_path / "out")
    raw = json.loads((folder / "run.json").read_text())
    raw["run"] |= change
    (folder / "run.json").write_text(json.dumps(raw))
    assert command("repeat", folder, "--quiet") == 2
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1


# Hostile.


def put(raw, place: str, value) -> None:
    *above, last = place.split("/")
    for key in above:
        raw = raw[key]
    raw[last] = value


CHANGES = [
    ("format", 2), ("format", "1"), ("values/depth/file", "../depth.png"), ("values/depth/file", "/etc/passwd"),
    ("values/depth/file", "inputs/../x.png"), ("values/depth/file", "nosuch.png"), ("values/depth/file", "grid.png"),
    ("values/depth/file", 5), ("values/depth/sha256", "0"), ("values/depth/sha256", "0" * 64), ("values/depth", None),
    ("values", []), ("modalities", {}), ("modalities/depth/settings/high", "far"),
    ("modalities/depth/settings/low", 90),
    ("modalities/depth/settings/self", 1), ("modalities/depth/members", ["rgb"]),
    ("run/seed", "many"), ("run/options", 3), ("more", 1), ("inputs/rgb/file", "run.json"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), CHANGES)
def test_a_hostile_run_is_refused_with_one_sentence(place, value, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "out")
    raw = json.loads((folder / "run.json").read_text())
    put(raw, place, value)
    (folder / "run.json").write_text(json.dumps(raw))
    with pytest.raises(am.AnymodalError) as raised:
        am.Outputs.load(folder)
    assert len(str(raised.value)) < 1300 and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["run.json", "tokens.safetensors", "values.safetensors", "depth.png", "inputs/rgb.png"]
)
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"\xff" * 8 + b"{}", None])
def test_damaged_files_are_refused_with_one_sentence(name, content, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "out")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    elif name == "values.safetensors":
        return  # where the files alone count
    with pytest.raises(am.DataError) as raised:
        am.Outputs.load(folder)
    assert str(folder) in str(raised.value) and len(str(raised.value)) < 1300


def test_a_folder_of_something_else_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(am.DataError, match=r"holds no run.json.*give such a folder"):
            am.Outputs.load(place)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["modalities", "values", "inputs", "run", "modalities/depth", "run/options", "run/origin"]), JSON
)
def test_any_run_is_taken_or_refused(saved, place, value):
    import tempfile

    raw = json.loads((saved / "run.json").read_text())
    put(raw, place, value)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        Path(folder, "run.json").write_text(json.dumps(raw))
        try:
            am.Outputs.load(folder)
        except am.AnymodalError as error:
            assert "\n" not in str(error)
