"""The labeler of semseg on a small random Mask2Former."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("semseg")

Semseg = am.registry().modality("semseg")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
        SwinConfig,
    )

    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    names = ["sky-other-merged", "unicorn", "person"]
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=5,
        id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("mask2former")
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 128}
    Mask2FormerImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def test_classes_are_matched_by_name(checkpoint):
    labeler = am.registry().labeler("semseg")(checkpoint, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (value,) = labeler.label([{"rgb": picture}])
    known = {Semseg.classes.index("sky-other-merged"), Semseg.classes.index("person"), 255}
    assert value.shape == (50, 70) and value.dtype == np.uint8 and set(np.unique(value)) <= known
    assert np.array_equal(Semseg().accept(value), value)


def test_a_network_without_names_of_classes_is_refused(checkpoint, tmp_path):
    import json
    import shutil

    shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"], config["label2id"] = {str(k): f"LABEL_{k}" for k in range(3)}, {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(am.CheckpointError, match=r"names no class of semseg \(LABEL_0, LABEL_1, LABEL_2, ...\)"):
        am.registry().labeler("semseg")(tmp_path, device="cpu")
