"""`anymodal train-tokenizer`: every family, several sizes, several processes."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import Forked
from processor_time import patience
from small_runs import GRID, STEPS, VIT, command, lines, loaded, trained_tokenizer

from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.config import structure
from anymodal.data.config import CropConfig
from anymodal.data.files.values import ValueSource
from anymodal.data.order import Share
from anymodal.errors import AnymodalError, CheckpointError, ConfigError, DataError
from anymodal.plugins.registry import registry
from anymodal.text import Vocabulary
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.training.tokenizers.batches import PreparedBatches, Values, source_of
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.training.tokenizers.recipe import train_tokenizer

MLP = {"width": 16, "blocks": 1}
UNET = {"patch": 4, "channels": 32, "multipliers": [1], "blocks": 1}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and places at 32 pixels, with random features beside them."""
    root = tmp_path_factory.mktemp("scenes")
    assert command("scenes", "--count", 24, "--size", 32, "--out", root, "--seed", 1) == 0
    rng = np.random.default_rng(0)
    for name, shape in {"clip": (4, 4, 512), "dinov2_global": (768,)}.items():
        (root / name).mkdir()
        for file in (root / "rgb").iterdir():
            np.save(root / name / f"{file.stem}.npy", rng.standard_normal(shape).astype(np.float32))
    return root


# Families.

FAMILIES: dict[str, dict[str, Any]] = {
    "rgb": {"settings": GRID, "encoder": VIT, "decoder": VIT},
    "depth": {"settings": {**GRID, "low": 0.4, "high": 80.0, "scaling": "log"}, "encoder": VIT, "decoder": VIT},
    "normal": {"settings": GRID, "encoder": VIT, "unet": UNET},
    "semseg": {"settings": {**GRID, "channels": 4}, "encoder": VIT, "decoder": VIT},
    "canny_edge": {"settings": GRID, "encoder": VIT, "decoder": VIT},
    "clip": {"settings": {**GRID, "channels": 512}, "encoder": VIT, "decoder": VIT},
    "dinov2_global": {"settings": {"codebooks": 4, "codebook": 16, "latent": 8}, "encoder": MLP, "decoder": MLP},
    "human_poses": {"settings": {"codebook": 16, "latent": 16}, "encoder": MLP, "decoder": MLP},
    "sam_instance": {"settings": {"codebook": 16, "latent": 8}, "encoder": VIT, "decoder": VIT},
}


def drawn_row(values: Values, index: int, seed: int = 0) -> np.ndarray | None:
    """What a tokenizer reads of a sample that is not mirrored."""
    rng = np.random.default_rng(seed)
    return values.tensor(values.sample(index, rng, flip=False), rng)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_command_trains_every_family(name: str, scenes: Path, tmp_path: Path) -> None:
    modality = loaded(trained_tokenizer(scenes, tmp_path, modality=name, **FAMILIES[name]))
    records = lines(tmp_path, name)
    assert len(records) == 2
    for record in records:
        assert np.isfinite([record["reconstruction"], record["commitment"]]).all()
        assert 0 < record["usage"] <= 1 <= record["perplexity"] <= modality.codebook  # type: ignore[attr-defined]
    folder = source_of(str(scenes), modality)
    parts = Values(folder, modality, 0)
    tensors = [drawn_row(parts, k) for k in range(len(folder))]
    batch = torch.from_numpy(np.stack([t for t in tensors if t is not None][:2]))
    ids = modality.tokenizer.encode(batch)
    assert ids.max() < modality.codebook  # type: ignore[attr-defined]
    assert modality.tokenizer.decode(ids).shape[0] == len(batch)


def test_parts_are_drawn_and_samples_without_any_are_passed_over(scenes: Path) -> None:
    modality = registry().modality("human_poses")()
    values = Values(source_of(str(scenes), modality), modality, 0)
    people = [len(values.source.read(k)["human_poses"]) for k in range(len(values))]
    assert 0 in people and max(people) > 1
    batch = PreparedBatches([values], len(people), 0, True, Share())(0).rows
    assert batch.shape == (len(people), 207) and batch.abs().sum(1).min() > 0
    crowd = people.index(max(people))
    drawn = {drawn_row(values, crowd, k).tobytes() for k in range(40)}  # type: ignore[union-attr]
    assert len(drawn) == max(people)


def test_a_source_of_nothing_to_learn_from_says_so(tmp_path: Path) -> None:
    (tmp_path / "human_poses").mkdir()
    (tmp_path / "human_poses" / "a.json").write_text("[]")
    modality = registry().modality("human_poses")()
    values = Values(source_of(str(tmp_path), modality), modality, 0)
    with pytest.raises(DataError, match="no human_poses for a tokenizer to learn from"):
        PreparedBatches([values], 1, 0, True, Share())(0)


def test_damaged_files_are_told_of_and_replaced(scenes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes / "depth", data / "depth")
    first, *rest = sorted((data / "depth").iterdir())
    first.write_bytes(first.read_bytes()[:50])
    steps = {**STEPS, "batch_size": 24, "max_bad": 0.5}
    trained_tokenizer(data, tmp_path, modality="depth", **FAMILIES["depth"], training=steps)
    assert [record["bad_samples"] for record in lines(tmp_path, "depth")] == [1, 2]
    (problem, _) = (tmp_path / "runs" / "depth" / "problems.jsonl").read_text().splitlines()
    assert str(first) in problem
    for file in rest:
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"20 samples of .* in a row cannot be used"):
        train_tokenizer(config(data, modality="depth", **FAMILIES["depth"]), tmp_path / "again")


def test_sharded_tars_train_like_folders(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "tars" / "rgb").mkdir(parents=True)
    with tarfile.open(tmp_path / "tars" / "rgb" / "shard-00000.tar", "w") as tar:
        for file in sorted((scenes / "rgb").iterdir()):
            tar.add(file, file.name)
    folders = [
        trained_tokenizer(data, tmp_path / data.name, modality="rgb", **FAMILIES["rgb"])
        for data in (scenes, tmp_path / "tars")
    ]
    first, second = (load_tokenizer(folder).state_dict() for folder in folders)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_vocabulary_is_learned_from_the_texts_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "texts" / "caption").mkdir(parents=True)
    for number in range(120):
        (tmp_path / "texts" / "caption" / f"{number:04d}.txt").write_text("a red cup on a table")
    (tmp_path / "texts" / "caption" / "0007.txt").write_bytes(b"\xff\xfe\x00")
    words = {"modality": "caption", "vocabulary": {"size": 100, "bins": 8, "sentinels": 8}}
    trained_tokenizer(tmp_path / "texts", tmp_path / "out", **words)
    assert "0007.txt is not UTF-8" in (tmp_path / "out" / "runs" / "caption" / "problems.jsonl").read_text()
    assert Vocabulary.load(tmp_path / "out" / "vocabulary.json").encode("a cup").size == 2
    (tmp_path / "texts" / "caption" / "0007.txt").write_text("a cup")
    trained_tokenizer(tmp_path / "texts", tmp_path / "out", **words)
    assert not (tmp_path / "out" / "runs" / "caption" / "problems.jsonl").exists()  # which were another run's
    for path in (tmp_path / "texts" / "caption").iterdir():
        path.write_bytes(b"\xff\xfe\x00")
    config = structure({"data": str(tmp_path / "texts"), **words}, TokenizerRun, "here")
    with pytest.raises(DataError, match=r"120 of 120 samples could not be used, 0 have a text; the last one: .*0119"):
        train_tokenizer(config, tmp_path / "none")
    assert not (tmp_path / "none" / "vocabulary.json").exists()


def config(data: Path, **keys: Any) -> TokenizerRun:
    return structure({"data": str(data), "training": STEPS, **keys}, TokenizerRun, "a test")


# What people see.


def test_usage_and_perplexity_are_on_the_line_for_people(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_tokenizer(scenes, tmp_path, modality="human_poses", **FAMILIES["human_poses"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step 2/2")]
    assert "usage 0." in line or "usage 1 " in line
    assert "perplexity " in line


# Sizes and starts.


def values_of(scenes: Path, *sizes: int, memory: int = 2**20) -> list[Values]:
    modality = registry().modality("rgb")(**GRID)
    made = [modality.at_size(size) for size in sizes]
    return [Values(source_of(str(scenes), each), each, memory) for each in made]


def test_batches_are_a_function_of_seed_and_step(scenes: Path) -> None:
    def batches(seed: int = 0, share: Share = Share(), memory: int = 2**20) -> PreparedBatches:  # noqa: B008
        return PreparedBatches(values_of(scenes, 32, 48, 64, memory=memory), 8, seed, True, share)

    first, fresh = batches(), batches(memory=0)
    shapes = [first(step).rows.shape for step in range(12)]
    assert {shape[-1] for shape in shapes} == {32, 48, 64}
    assert all(shape[:2] == (8, 3) and shape[2] == shape[3] for shape in shapes)
    for step in (11, 3, 7):
        assert torch.equal(first(step).rows, fresh(step).rows)
        pieces = [batches(share=Share(rank, 2, 2))(2 * step + part).rows for rank in range(2) for part in range(2)]
        assert torch.equal(torch.cat(pieces), first(step).rows)
    assert not torch.equal(batches(seed=1)(0).rows.flatten()[:99], first(0).rows.flatten()[:99])


def test_crops_are_drawn_anew_at_every_step(scenes: Path, tmp_path: Path) -> None:
    modality = registry().modality("canny_edge")(**GRID)  # derived from the crop of a picture
    crop = CropConfig(scale=(0.3, 0.9))
    values = [Values(source_of(str(scenes), modality), modality, memory, crop) for memory in (2**20, 0)]
    first, fresh = (PreparedBatches([each], 24, 0, False, Share()) for each in values)
    assert torch.equal(first(3).rows, fresh(3).rows)
    assert sorted(first.order(k) for k in range(24)) == list(range(24))
    again = {tuple(drawn_row(values[0], 0, k).ravel()) for k in range(8)}  # type: ignore[union-attr]
    assert len(again) == 8
    trained_tokenizer(scenes, tmp_path, modality="rgb", **FAMILIES["rgb"], crop={"scale": [0.8, 1.0]})


def test_files_are_read_once_where_memory_allows(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (values,) = values_of(scenes, 32)
    reads: list[int] = []
    read = ValueSource.read
    monkeypatch.setattr(ValueSource, "read", lambda self, index: reads.append(index) or read(self, index))
    batches = PreparedBatches([values], 24, 0, True, Share())
    batches(0), batches(1)
    assert len(reads) == 24
    (small,) = values_of(scenes, 32, memory=5 * 32 * 32 * 3)
    reads.clear()
    batches = PreparedBatches([small], 24, 0, True, Share())
    batches(0), batches(1)
    assert len(reads) == 24 + 24 - 5


def test_a_trained_tokenizer_adapts_to_more_sizes(scenes: Path, tmp_path: Path) -> None:
    base = trained_tokenizer(scenes, tmp_path / "base", modality="rgb", **FAMILIES["rgb"])
    steps = {**STEPS, "steps": 6, "ema": 0.9}
    keys: dict[str, Any] = {"start": str(base), "sizes": [32, 48, 64], "training": steps}
    whole = loaded(trained_tokenizer(scenes, tmp_path / "whole", modality="rgb", **keys))
    assert whole.config() == loaded(base).config()
    before, after = load_tokenizer(base), whole.tokenizer
    assert before.config == after.config
    assert not torch.equal(before.encoder.proj.weight, after.encoder.proj.weight)
    large = torch.rand(1, 3, 64, 48)
    assert after.decode(after.encode(large), (8, 6)).shape == large.shape


def test_a_resumed_adaptation_equals_one_in_one_go(scenes: Path, tmp_path: Path) -> None:
    base = trained_tokenizer(scenes, tmp_path / "base", modality="rgb", **FAMILIES["rgb"])
    steps = {**STEPS, "steps": 6, "schedule": "constant", "save_every": 3}
    keys: dict[str, Any] = {"start": str(base), "sizes": [32, 48]}
    whole = load_tokenizer(trained_tokenizer(scenes, tmp_path / "whole", modality="rgb", **keys, training=steps))
    trained_tokenizer(scenes, tmp_path / "parts", modality="rgb", **keys, training={**steps, "steps": 3})
    parts = load_tokenizer(
        trained_tokenizer(scenes, tmp_path / "parts", "--resume", modality="rgb", **keys, training=steps)
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_a_run_for_other_values_is_not_taken_up(scenes: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"modality": "depth", "data": str(scenes), "encoder": VIT, "decoder": VIT, "training": STEPS}
    near, far = ({**keys, "settings": {**GRID, "high": high}} for high in (20.0, 30.0))
    assert train_tokenizer(structure(near, TokenizerRun, "near"), tmp_path) == tmp_path / "modalities/depth"
    with pytest.raises(
        ConfigError, match=r"made with other settings: settings.high was 20.0, is 30.0; resume it as it was"
    ):
        train_tokenizer(structure(far, TokenizerRun, "far"), tmp_path, resume=True)


def test_a_denoiser_goes_on_with_codes_that_stay(scenes: Path, tmp_path: Path) -> None:
    codes = trained_tokenizer(scenes, tmp_path / "codes", modality="rgb", **FAMILIES["rgb"])
    keys: dict[str, Any] = {"modality": "rgb", "codes": str(codes)}
    base = trained_tokenizer(scenes, tmp_path / "base", **keys, settings=GRID, unet=UNET)
    more = trained_tokenizer(scenes, tmp_path / "more", **keys, start=str(base), sizes=[32, 64])
    first, last = load_tokenizer(codes), load_tokenizer(more)
    assert isinstance(last, DiffusionTokenizer)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(first.encode(x), last.encode(x))
    free = load_tokenizer(trained_tokenizer(scenes, tmp_path / "free", modality="rgb", start=str(base)))
    assert not torch.equal(free.quant_proj.weight, last.quant_proj.weight)


def test_a_decoder_learns_to_join_its_patches_with_codes_that_stay(scenes: Path, tmp_path: Path) -> None:
    first = trained_tokenizer(scenes, tmp_path / "base", modality="semseg", **FAMILIES["semseg"])
    keys: dict[str, Any] = {"modality": "semseg", "start": str(first), "codes": str(first), "code_noise": 0.5}
    joined = trained_tokenizer(scenes, tmp_path / "joined", **keys, overlap={"widths": [8, 4]})
    before, after = load_tokenizer(first), load_tokenizer(joined)
    labels = torch.randint(before.config.labels or 1, (2, 64, 64))
    ids = before.encode(labels)
    assert after.fingerprint() == before.fingerprint() and torch.equal(after.encode(labels), ids)
    assert not torch.equal(after.decode(ids), before.decode(ids))
    again = trained_tokenizer(scenes, tmp_path / "again", modality="semseg", start=str(joined))
    assert load_tokenizer(again).config == after.config
    with pytest.raises(ConfigError, match=r"widths \[4, 4\], the tokenizer to start from \[8, 4\]"):
        other = config(scenes, **{**keys, "start": str(joined)}, overlap={"widths": [4, 4]})
        train_tokenizer(other, tmp_path / "other")


def test_another_decoder_of_patches_is_trained_for_codes_that_stay(scenes: Path, tmp_path: Path) -> None:
    first = trained_tokenizer(scenes, tmp_path / "base", modality="rgb", **FAMILIES["rgb"])
    keys = {"codes": str(first), "decoder": {**VIT, "dim": 24}, "settings": GRID}
    made = load_tokenizer(trained_tokenizer(scenes, tmp_path / "new", modality="rgb", **keys))
    assert made.config.decoder.dim == 24 and made.fingerprint() == load_tokenizer(first).fingerprint()
    for changed, said in (
        ({"settings": {**GRID, "codebook": 64}}, "has codebook 32"),
        ({"quantizer": {"kind": "fsq"}}, "leave out quantizer"),
        ({"modality": "depth"}, "codes names a tokenizer of 'rgb'"),
    ):
        with pytest.raises(ConfigError, match=said):
            train_tokenizer(config(scenes, **{"modality": "rgb", **keys, **changed}), tmp_path / "no")
    with pytest.raises(ConfigError, match="code_noise"):
        train_tokenizer(config(scenes, modality="rgb", code_noise=0.5, **keys), tmp_path / "new", resume=True)


def test_a_decoder_that_attends_to_the_codes_is_trained(scenes: Path, tmp_path: Path) -> None:
    uvit = {"patch": 4, "widths": [32], "blocks": 1, "dim": 16, "depth": 1, "heads": 2, "side": 4, "halved": False}
    keys: dict[str, Any] = {"noise": {"prediction": "epsilon", "solver": "ddpm"}, "settings": GRID, "encoder": VIT}
    made = trained_tokenizer(scenes, tmp_path, modality="canny_edge", **keys, uvit={**uvit, "conditioning": "xattn"})
    config = load_tokenizer(made).config
    assert (config.decoder.conditioning, config.noise.prediction, config.noise.solver) == ("xattn", "epsilon", "ddpm")


def test_what_does_not_fit_together_is_refused(scenes: Path, tmp_path: Path) -> None:
    base = trained_tokenizer(scenes, tmp_path / "base", modality="rgb", **FAMILIES["rgb"])
    rgb: dict[str, Any] = {"modality": "rgb", **FAMILIES["rgb"]}
    cases: list[tuple[dict[str, Any], type[AnymodalError], str]] = [
        ({**rgb, "sizes": [32, 50]}, ConfigError, "sizes names 50; this tokenizer reads multiples of 8"),
        ({"modality": "human_poses", **FAMILIES["human_poses"], "sizes": [64]}, ConfigError, "has none to choose from"),
        ({**rgb, "start": str(base), "encoder": {**VIT, "dim": 8}}, ConfigError, "leave them out"),
        ({"modality": "normal", "start": str(base)}, ConfigError, "start names a tokenizer of 'rgb', not of 'normal'"),
        ({"modality": "rgb", "start": str(tmp_path / "none")}, CheckpointError, "not a folder"),
        ({"modality": "rgb", "start": str(base), "settings": {"codebook": 8}}, ConfigError, "has codebook 32"),
        ({"modality": "rgb", "start": str(base), "overlap": {"widths": [4] * 4}}, ConfigError, "16 cells a patch"),
        (
            {**rgb, "decoder": None, "unet": UNET, "code_noise": 0.1},
            ConfigError,
            "code_noise belongs to a feed-forward",
        ),
        (
            {**rgb, "encoder": {**VIT, "dimm": 8}},
            ConfigError,
            "encoder, .* have the unknown key 'dimm'; did you mean 'dim'",
        ),
        ({**rgb, "options": {"refined": True}}, ConfigError, "the unknown key 'refined'; did you mean 'refine'"),
        ({**rgb, "encoder": {**VIT, "patch": 8}}, ConfigError, "encoder, .* name 'patch', which the modality and its"),
        ({**rgb, "encoder": {"dim": 16}}, ConfigError, "encoder, .* cannot be used: .*missing.*'depth' and 'heads'"),
        ({**rgb, "training": {**STEPS, "batch_size": 1, "accumulate": 2}}, ConfigError, "cannot be shared"),
    ]
    for number, (keys, error, hint) in enumerate(cases):
        with pytest.raises(error, match=hint):
            train_tokenizer(config(scenes, **keys), tmp_path / str(number))


# Several processes.


def test_two_processes_train_what_one_trains(scenes: Path, tmp_path: Path) -> None:
    steps = {**STEPS, "steps": 4, "batch_size": 8, "schedule": {"warmup_steps": 2}}
    alone = trained_tokenizer(scenes, tmp_path / "alone", modality="rgb", **FAMILIES["rgb"], training=steps)
    recipe = tmp_path / "alone" / "rgb.yaml"
    both = Forked("train-tokenizer", recipe, "--out", tmp_path / "two", processes=2)
    said, _ = both.communicate(patience(200))
    assert both.returncode == 0, said
    one, two = load_tokenizer(alone), load_tokenizer(tmp_path / "two" / "modalities" / "rgb")
    torch.testing.assert_close(two.quantize.codes, one.quantize.codes, rtol=0, atol=1e-5)
    for mine, theirs in zip(lines(tmp_path / "alone", "rgb"), lines(tmp_path / "two", "rgb"), strict=True):
        for key in ("loss", "usage", "perplexity"):
            assert theirs[key] == pytest.approx(mine[key], rel=1e-5)
