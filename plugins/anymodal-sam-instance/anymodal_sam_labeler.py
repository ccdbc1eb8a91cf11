"""The labeler of instances: Segment Anything (Kirillov et al. 2023), asked at a grid of points."""

from typing import TYPE_CHECKING, Any

from anymodal_sam_outlines import FINE, Instance, area, traced

from anymodal import PictureLabeler

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

AT_ONCE = 8  # masks that are as large as the network's picture, 4 MB each


class SamLabeler(PictureLabeler):
    """Instances by Segment Anything from a grid of points; the surest masks first, those that say the same once."""

    modality, checkpoint = "sam_instance", "facebook/sam-vit-huge"
    architecture = "SamModel"
    side, confident, same = 16, 0.88, 0.7

    def predict(self, pictures: "list[np.ndarray]") -> list[Any]:
        return [self._instances(picture) for picture in pictures]

    def _instances(self, picture: "np.ndarray") -> list[Instance]:
        height, width = picture.shape[:2]
        inputs = self.prepared([picture])
        embeddings = self.model.get_image_embeddings(inputs["pixel_values"])
        scaled = inputs["reshaped_input_sizes"][0].tolist()
        centers = (np.arange(self.side) + 0.5) / self.side
        grid = np.stack(np.meshgrid(centers * scaled[1], centers * scaled[0]), -1).reshape(-1, 1, 2)
        masks, scores = [], []
        for some in np.array_split(grid, max(1, len(grid) // 64)):
            points = torch.from_numpy(some[None].astype(np.float32)).to(self.device)
            output = self.model(image_embeddings=embeddings, input_points=points)
            good = output.iou_scores[0] > self.confident
            masks.append(output.pred_masks[0][good].float().cpu())
            scores.append(output.iou_scores[0][good].float().cpu())
        low, surest = torch.cat(masks), torch.cat(scores).argsort(descending=True)
        return self._distinct(self._in_picture(low[surest], scaled, (height, width)))

    def _in_picture(self, low: "torch.Tensor", scaled: list[int], shape: tuple[int, int]) -> "np.ndarray":
        """Masks bool (n, H, W) of the picture, at most 256 pixels a side, from logits of the padded square."""
        if not len(low):
            return np.zeros((0, *shape), bool)
        side = self.model.config.vision_config.image_size
        share = min(1.0, FINE / max(shape))
        goal = [max(1, round(s * share)) for s in shape]

        def scale(some: "torch.Tensor") -> "torch.Tensor":
            large = torch.nn.functional.interpolate(some[:, None], (side, side), mode="bilinear")
            cut = large[:, :, : scaled[0], : scaled[1]]
            return torch.nn.functional.interpolate(cut, goal, mode="bilinear")[:, 0] > 0

        return torch.cat([scale(some) for some in low.split(AT_ONCE)]).numpy()

    def _distinct(self, masks: "np.ndarray") -> list[Instance]:
        kept: list[np.ndarray] = []
        for mask in masks:
            overlaps = [(mask & other).sum() / max((mask | other).sum(), 1) for other in kept]
            if mask.any() and max(overlaps, default=0) < self.same:
                kept.append(mask)
        found = [Instance(outlines) for mask in kept if (outlines := traced(mask))]
        return sorted(found, key=area, reverse=True)
