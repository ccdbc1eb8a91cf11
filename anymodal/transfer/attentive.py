"""Attention of a learned query over all tokens of a sample, trained to tell classes (V-JEPA, arXiv 2404.08471).

Shapes: n samples, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

BATCH = 64
WEIGHT_DECAY = 0.05


def learned(
    features: np.ndarray, labels: np.ndarray, seed: int, *, steps: int, lr: float, heads: int
) -> Callable[[np.ndarray], np.ndarray]:
    """What tells the labels (n,) of tokens (n, N, D), zero where there is none, after `steps` of AdamW on batches."""
    names, targets = np.unique(labels, return_inverse=True)
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pool = AttentivePool(x.shape[-1], len(names), heads)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(pool.parameters(), lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(pool(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def predict(more: np.ndarray) -> np.ndarray:
        scores = torch.cat([pool(part) for part in torch.from_numpy(more).split(BATCH)])
        found: np.ndarray = names[scores.argmax(-1).numpy()]
        return found

    pool.eval()
    return predict


class AttentivePool(nn.Module):
    """Scores (n, classes) of tokens (n, N, D), of which those that are zero are left out."""

    def __init__(self, width: int, classes: int, heads: int) -> None:
        super().__init__()
        heads = next(count for count in range(min(heads, width), 0, -1) if width % count == 0)
        self.norm, self.query = nn.LayerNorm(width), nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        known, query = self.norm(tokens), self.query.expand(len(tokens), -1, -1)
        pooled, _ = self.attention(query, known, known, key_padding_mask=(tokens == 0).all(-1), need_weights=False)
        scores: torch.Tensor = self.classifier(pooled[:, 0])
        return scores
