"""A linear layer with fixed connections."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Module):
    """Linear map whose missing connections are zero in the weight and in its gradient.

    y = x (W ⊙ M)ᵀ + b. The mask multiplies the weight in the forward pass, so that the gradient of a missing connection is
    zero too; the weight starts masked, and neither Adam nor weight decay moves what starts and stays at zero.

    Parameters
    ----------
    mask
        Connections (outputs × inputs), bool or 0/1.
    bias
        Whether each output has a bias, which is not masked.

    Raises
    ------
    ValueError
        If the mask is not a matrix of zeros and ones.

    Notes
    -----
    The weight starts uniform in ±1/√(inputs), as in He et al. 2025.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import MaskedLinear
    >>> layer = MaskedLinear(torch.tensor([[1, 0], [1, 1]]), bias=False)
    >>> float(layer(torch.tensor([[0.0, 1.0]]))[0, 0])
    0.0
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, bias: bool = True) -> None:
        super().__init__()
        if mask.ndim != 2 or not (mask.is_meta or bool(((mask == 0) | (mask == 1)).all())):
            raise ValueError(f"`mask` must be a matrix of zeros and ones; found shape {tuple(mask.shape)}.")
        self.register_buffer("mask", mask.bool())
        bound = 1 / math.sqrt(max(mask.shape[1], 1))
        weight = torch.empty(mask.shape).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight * self.mask)
        self.bias = nn.Parameter(torch.empty(mask.shape[0]).uniform_(-bound, bound)) if bias else None

    @property
    def masked_weight(self) -> Tensor:
        """The weight with its missing connections at zero (outputs × inputs)."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs)."""
        return F.linear(x, self.masked_weight, self.bias)
