"""What a scene holds, counted."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import DerivedLabeler, Labeler, Number, NumbersModality, hookimpl, registry
from anymodal.text import words_of

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

NO_CLASS, THINGS, SURE = 255, 80, 0.6
GROUND = """floor-wood floor-other-merged pavement-merged road gravel sand snow grass-merged dirt-merged rug-merged
platform playingfield stairs bridge"""


class MetadataSemantic(NumbersModality):
    """Counts and shares, computed from caption, det and semseg (codes and bins as in 4M-21, arXiv 2406.09406).

    `caption_n_chars`, `caption_n_words`, `caption_n_sentences`; `n_humans`: people in det; `n_coco_instances`: boxes of
    det with a score of 0.6 or more, crowds left out, `coco_instance_diversity`: their different classes; of semseg,
    `walkability`: the share of pixels of ground one can walk on, `objectness`: of things that can be counted,
    `semantic_diversity`: how many classes there are. `n_sam_instances` comes from files, or is counted where `derive`
    is given sam_instance too, as `n_humans` is where it is given human_poses; datasets and the labeler give neither.
    """

    fields = {
        "caption_n_chars": Number(2),
        "caption_n_words": Number(3),
        "caption_n_sentences": Number(4),
        "n_humans": Number(5),
        "n_sam_instances": Number(6),
        "n_coco_instances": Number(7),
        "coco_instance_diversity": Number(8),
        "walkability": Number(14, 0, 1, 50),
        "objectness": Number(15, 0, 1, 50),
        "semantic_diversity": Number(16),
    }
    folders = ("metadata",)
    derived_from = ("caption", "det", "semseg")

    def derive(self, values: dict[str, Any]) -> dict[str, float]:
        caption, labels = values["caption"], np.asarray(values["semseg"])
        boxes = [words_of(box.class_name) for box in values["det"] if box.score >= SURE and not box.crowd]
        semseg: Any = registry().modality("semseg")
        ground = [k for k, name in enumerate(semseg.classes) if name in GROUND.split()]
        people = values.get("human_poses", [name for name in boxes if name == ("person",)])
        counted = {"n_sam_instances": len(values["sam_instance"])} if "sam_instance" in values else {}
        return {
            "caption_n_chars": len(caption),
            "caption_n_words": len(caption.split()),
            "caption_n_sentences": sum(bool(part.strip()) for part in re.split(r"[.!?]+", caption)),
            "n_humans": len(people),
            **counted,
            "n_coco_instances": len(boxes),
            "coco_instance_diversity": len(set(boxes)),
            "walkability": float(np.isin(labels, ground).mean()),
            "objectness": float((labels < THINGS).mean()),
            "semantic_diversity": len(np.setdiff1d(labels, [NO_CLASS])),
        }


class MetadataSemanticLabeler(DerivedLabeler):
    """The exact numbers."""

    derives = MetadataSemantic


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"metadata_semantic": MetadataSemanticLabeler}
