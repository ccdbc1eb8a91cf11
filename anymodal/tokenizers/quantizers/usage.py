"""How much of a codebook is in use, by counts of its ids: (K,), or (G, K) of G codebooks of K codes each."""

from __future__ import annotations

import numpy as np


def usage(counts_GK: np.ndarray) -> float:
    """Share of the codes, in [0, 1], that occur at all."""
    return float((counts_GK > 0).mean())


def perplexity(counts_GK: np.ndarray) -> float:
    """Effective number of codes in use, in [1, K]: exp of the entropy of the ids, averaged over codebooks."""
    shares_GK = counts_GK / np.maximum(counts_GK.sum(-1, keepdims=True), 1)
    logs_GK = np.log(shares_GK, where=shares_GK > 0, out=np.zeros_like(shares_GK))
    return float(np.exp(-(shares_GK * logs_GK).sum(-1)).mean())
