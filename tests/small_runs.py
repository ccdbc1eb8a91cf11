"""Commands run in this process and in others, and the configurations of small tokenizers and models for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from anymodal.checkpoints.formats.native.read import load_modality
from anymodal.checkpoints.record import ModalityRecord
from anymodal.checkpoints.repository import Folder
from anymodal.cli.main import main
from anymodal.files import read_json
from anymodal.modality import Modality
from anymodal.training.log import read_log

VIT = {"dim": 16, "depth": 1, "heads": 2}
GRID = {"size": 32, "patch": 8, "codebook": 32, "latent": 8}
STEPS = {"steps": 2, "batch_size": 4, "lr": 1e-3, "log_every": 1, "precision": "float32"}
MODEL = {"dim": 32, "encoder_depth": 1, "decoder_depth": 1, "heads": 2}
WORDS = {"modality": "caption", "vocabulary": {"size": 1300, "bins": 256, "sentinels": 16}}
# One thread and no GPU: the same arithmetic in every process, and room for several on two cores.
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}


def torchrun(processes: int) -> list[str]:
    """How several processes are started that work together, by ``-m MODULE`` and its arguments."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def command(*words: object) -> int:
    """The exit code of a command of `anymodal`."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def write_yaml(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def trained_tokenizer(data: Path, out: Path, *options: str, **keys: Any) -> Path:
    """The folder of the tokenizer that the command trains on a dataset, by default in two steps; or the vocabulary."""
    given = keys if "vocabulary" in keys else {"training": STEPS, **keys}
    path = write_yaml(out / f"{keys['modality']}.yaml", data=str(data), **given)
    assert command("train-tokenizer", path, "--out", out, *options) == 0
    return out / "modalities" / keys["modality"]


def loaded(folder: Path) -> Modality:
    """The modality of a folder that the command wrote, with its settings and its tokenizer."""
    record = ModalityRecord(settings=read_json(folder / "config.json")["settings"])
    return load_modality(folder.name, record, Folder(folder.parent.parent))


def lines(out: Path, name: str) -> list[dict[str, Any]]:
    """What was logged of the run of a tokenizer among those that `out` collects."""
    return read_log(out / "runs" / name / "log.jsonl")


def model_config(
    path: Path,
    modalities: dict[str, Any],
    components: list[dict[str, Any]],
    input_tokens: int = 12,
    target_tokens: int = 16,
    **keys: Any,
) -> Path:
    """The configuration of a small model, written to a file; unless said otherwise, its data lies beside it."""
    masking = {"input_tokens": input_tokens, "target_tokens": target_tokens, "components": components}
    places = {"tokenizers": str(path.parent / "tokenizers"), "data": str(path.parent / "tokens")}
    usual = {**places, "model": MODEL, "training": STEPS}
    return write_yaml(path, modalities=modalities, masking=masking, **{**usual, **keys})


def installed(folder: Path, name: str, group: str, entry: str, code: str) -> None:
    """A distribution in a folder, as pip leaves it."""
    (folder / f"{name}.py").write_text(code)
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{entry} = {name}:Added\n")


def stored_tensors(checkpoint: Path) -> dict[str, Any]:
    """All tensors by name of a checkpoint of a run with one process."""
    return {name: tensor for file in checkpoint.glob("*.safetensors") for name, tensor in load_file(file).items()}
