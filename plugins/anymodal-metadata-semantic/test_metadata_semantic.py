from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from anymodal_metadata_semantic import GROUND, MetadataSemantic

from anymodal.plugins.registry import registry
from anymodal.testing import conformance

test_conformance = conformance("metadata_semantic")


def box(name: str, score: float = 1.0, crowd: bool = False) -> SimpleNamespace:
    return SimpleNamespace(class_name=name, score=score, crowd=crowd)


def test_counts_by_hand():
    classes = registry().modality("semseg").classes
    labels = np.full((2, 4), 255, np.uint8)
    labels[0, :2], labels[1, 0] = classes.index("road"), classes.index("car")
    value = {
        "caption": "A car. On a road!",
        "det": [box("car"), box("car"), box("person"), box("dog", 0.5)],
        "semseg": labels,
    }
    found = MetadataSemantic().derive(value)
    assert found == {
        "caption_n_chars": 17, "caption_n_words": 5, "caption_n_sentences": 2, "n_humans": 1, "n_coco_instances": 3,
        "coco_instance_diversity": 2, "walkability": 0.25, "objectness": 0.125, "semantic_diversity": 2,
    }  # fmt: skip
    more = MetadataSemantic().derive(value | {"human_poses": [], "sam_instance": [1, 2, 3]})
    assert more["n_humans"] == 0 and more["n_sam_instances"] == 3
    assert MetadataSemantic().accept(more) == more


def test_crowds_are_no_objects_and_case_makes_no_class():
    boxes = [box("Person"), box("person"), box("person", crowd=True), box("Traffic  light"), box("traffic light")]
    found = MetadataSemantic().derive({"caption": "", "det": boxes, "semseg": np.zeros((2, 2), np.uint8)})
    assert (found["n_humans"], found["n_coco_instances"], found["coco_instance_diversity"]) == (2, 4, 2)


@pytest.mark.parametrize("name", GROUND.split())
def test_ground_is_made_of_classes(name):
    assert name in registry().modality("semseg").classes
