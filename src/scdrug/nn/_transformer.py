"""Transformer encoder whose attention never holds a matrix of tokens × tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionBlock(nn.Module):
    """Post-norm encoder layer (Vaswani et al. 2017) with the parameter names of :class:`torch.nn.TransformerEncoderLayer`.

    Parameters
    ----------
    width
        Width of a token.
    n_heads
        Number of heads.
    n_hidden
        Units of the feed-forward part.

    Notes
    -----
    In evaluation it gives what torch's layer gives, but in memory that grows with the number of tokens instead of its square,
    which whole transcriptomes need. There is no dropout: it serves pretrained networks.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn._transformer import AttentionBlock
    >>> AttentionBlock(8, 2, 16)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, n_heads: int, n_hidden: int) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"The width of tokens must be a multiple of the {n_heads} heads; found {width}.")
        self.n_heads = n_heads
        self.self_attn = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, n_hidden), nn.Linear(n_hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map cells × tokens × width to the same; `padding` marks tokens that nobody may attend to (cells × tokens)."""
        x = self.norm1(x + self._attend(x, padding))
        return self.norm2(x + self.linear2(torch.relu(self.linear1(x))))

    def _attend(self, x: Tensor, padding: Tensor | None) -> Tensor:
        n, length, width = x.shape
        projected = F.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias)
        query, key, value = projected.view(n, length, 3, self.n_heads, width // self.n_heads).permute(2, 0, 3, 1, 4)
        mask = None if padding is None else ~padding[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.self_attn.out_proj(mixed.transpose(1, 2).reshape(n, length, width))
