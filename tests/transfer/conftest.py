"""What transfers are made of."""

import json
from pathlib import Path

import pytest
import torch
from anymodal_scenes import write
from small_transfers import SIZE

import anymodal as am
from anymodal.model import ModelConfig
from anymodal.testing.tiny import equip, shrunk


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Scenes with a class each, and a small model of random weights that reads them."""
    root = tmp_path_factory.mktemp("transfer")
    for part, first, count in (("scenes", 0, 12), ("held", 12, 3)):
        write(root / part, count, seed=5, size=SIZE, workers=1, start=first)
        (root / part / "label").mkdir()
        for path in sorted((root / part / "scene").glob("*.json")):
            place = json.loads(path.read_text())["setting"]["place"]
            (root / part / "label" / f"{path.stem}.txt").write_text(f"{place}\n")
    torch.manual_seed(0)
    members = [
        equip(shrunk(am.registry().modality(name)()), seed) for seed, name in enumerate(("rgb", "depth", "semseg"))
    ]
    config = ModelConfig(dim=32, encoder_depth=2, decoder_depth=1, heads=2)
    am.AnyModel(am.ModalitySet(members), config).save_pretrained(root / "model")
    return root
