"""Softmax attention by the fastest kernel for the place.

Shapes: B batch, H heads, N queries, M keys, K head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 512  # keys, up to which plain products train faster


def attend(q_BHNK: Tensor, k_BHMK: Tensor, v_BHMK: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention (B, H, N, K), scaled by K ** -0.5; `bias` is added to the scores before the softmax.

    On a CPU the gradient of the fused kernel is slower in bfloat16 than in float32, and several times slower than plain
    products on short sequences (torch 2.13); without gradients it is the fastest at any length.
    """
    plain = q_BHNK.requires_grad and q_BHNK.device.type == "cpu" and q_BHNK.dtype == torch.bfloat16
    if plain and k_BHMK.shape[-2] <= SHORT:
        scores = (q_BHNK * q_BHNK.shape[-1] ** -0.5) @ k_BHMK.mT
        return (scores if bias is None else scores + bias).softmax(-1) @ v_BHMK
    return F.scaled_dot_product_attention(q_BHNK, k_BHMK, v_BHMK, attn_mask=bias)
