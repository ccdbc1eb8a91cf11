"""How sure a model is and how sure it may be: temperatures of scores, and the expected calibration error.

Shapes: n places (tokens of grids and texts, pixels of label maps), V ids or classes.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from anymodal.modality import CALIBRATED

BINS = 15
HALVINGS = 24  # of the search, which ends 1e-7 from the best in the logarithm


def fitted_temperature(logits: Tensor, truths: Tensor) -> float:
    """The temperature under which the truths are likeliest (Guo et al., arXiv 1706.04599).

    The negative log likelihood is convex in one over the temperature, so its slope is halved to zero.

    Args:
        logits: (n, V), n at least 1.
        truths: ids (n,).

    Returns:
        A temperature within `anymodal.modality.CALIBRATED`, one of whose ends it is where the best lies beyond.
    """
    logits = logits.float()
    said = logits.gather(1, truths[:, None])[:, 0].mean()
    low, high = (math.log(end) for end in CALIBRATED)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        likely = (logits / math.exp(middle)).softmax(-1)
        if float((likely * logits).sum(-1).mean() - said) > 0:  # too sure
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


@attrs.define
class Reliability:
    """How often the most likely id is the true one, by how likely it is: accumulated in 15 bins of equal width.

    counts: (15,) places by the probability of their most likely id, from 0..1/15 to 14/15..1.
    confidence: (15,) the sum of that probability.
    hits: (15,) how many of them were right.
    loss: the sum of the negative log likelihood of the truths, in nats.
    """

    counts: np.ndarray = attrs.field(factory=lambda: np.zeros(BINS))
    confidence: np.ndarray = attrs.field(factory=lambda: np.zeros(BINS))
    hits: np.ndarray = attrs.field(factory=lambda: np.zeros(BINS))
    loss: float = 0.0

    def add(self, logits: Tensor, truths: Tensor, temperature: float = 1.0) -> None:
        """Count places with logits (n, V) and true ids (n,)."""
        scores = logits.float() / temperature
        self.loss += float(F.cross_entropy(scores, truths, reduction="sum"))
        most, ids = scores.softmax(-1).max(-1)
        sure, right = most.cpu().numpy().astype(float), (ids == truths).cpu().numpy()
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        self.confidence += np.bincount(bins, sure, BINS)
        self.hits += np.bincount(bins, right, BINS)

    @property
    def places(self) -> int:
        return int(self.counts.sum())

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1: the mean distance of confidence and accuracy, by places in a bin."""
        return float(np.abs(self.confidence - self.hits).sum() / max(self.places, 1))

    @property
    def mean_loss(self) -> float:
        """The negative log likelihood of the truths, nats a place."""
        return self.loss / max(self.places, 1)
