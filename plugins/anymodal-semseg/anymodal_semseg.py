"""What every pixel belongs to: the 133 classes of COCO panoptic."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from anymodal import Labeler, LabelMapModality, PictureLabeler, hookimpl
from anymodal.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

THINGS = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack,
umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball
glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana,
apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed,
dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"""
STUFF = """banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit, gravel,
house, light, mirror-stuff, net, pillow, platform, playingfield, railroad, river, road, roof, sand, sea,
shelf, snow, stairs, tent, towel, wall-brick, wall-stone, wall-tile, wall-wood, water-other,
window-blind, window-other, tree-merged, fence-merged, ceiling-merged, sky-other-merged, cabinet-merged,
table-merged, floor-other-merged, pavement-merged, mountain-merged, grass-merged, dirt-merged,
paper-merged, food-other-merged, building-other-merged, rock-merged, wall-other-merged, rug-merged"""


class Semseg(LabelMapModality):
    """Semantic classes: uint8 arrays (H, W) of ids 0..132 (80 things, then 53 kinds of stuff), 255 for none."""

    classes = tuple(name.strip() for name in f"{THINGS}, {STUFF}".replace("\n", " ").split(","))
    codebook = 4096
    repository = "EPFL-VILAB/4M_tokenizers_semseg_4k_224-448"


class SemsegLabeler(PictureLabeler):
    """A Mask2Former, or another network for semantic segmentation, trained on COCO panoptic (Cheng et al. 2022).

    Its classes are matched by their names in the checkpoint; pixels of a class with an unknown name get 255.
    """

    modality, checkpoint = "semseg", "facebook/mask2former-swin-base-coco-panoptic"
    architecture = "AutoModelForUniversalSegmentation"

    def load(self) -> None:
        super().load()
        if not set(self.model.config.id2label.values()) & set(Semseg.classes):
            named = ", ".join(map(str, list(self.model.config.id2label.values())[:3]))
            raise CheckpointError(
                f"{self.checkpoint!r} names no class of semseg ({named}, ...); name them in its id2label"
            )

    def predict(self, pictures: "list[np.ndarray]") -> "list[np.ndarray]":
        sizes = [picture.shape[:2] for picture in pictures]
        output = self.model(**self.prepared(pictures))
        maps = self.processor.post_process_semantic_segmentation(output, target_sizes=sizes)
        numbers = {name: number for number, name in enumerate(Semseg.classes)}
        names = self.model.config.id2label
        table = np.array([numbers.get(names[i], 255) for i in range(len(names))], np.uint8)
        return [table[found.cpu().numpy()] for found in maps]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"semseg": SemsegLabeler}
