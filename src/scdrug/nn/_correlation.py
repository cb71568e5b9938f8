"""Correlation between embeddings as a prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: A row whose standard deviation is below this counts as constant.
_LEAST_SPREAD = 1e-6


def row_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of every row of one matrix with every row of another (eq. 7 of Liu et al. 2024).

    Parameters
    ----------
    a, b
        Rows × width, the same width.

    Returns
    -------
    Rows of `a` × rows of `b`. A row without variance has correlation 0 with everything, and no gradient; never NaN.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import row_correlation
    >>> row_correlation(torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]), torch.tensor([[3.0, 2.0, 1.0]])).tolist()
    [[-1.0], [0.0]]
    """
    return _standardise_rows(a) @ _standardise_rows(b).T


def _standardise_rows(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    square = centred.square().sum(dim=1, keepdim=True)
    constant = square <= _LEAST_SPREAD**2 * x.shape[1]
    # the root of a selected value: its slope at 0 is infinite, and infinity times zero is NaN
    return torch.where(constant, 0.0, centred * torch.where(constant, 1.0, square).rsqrt())


class CorrelationDecoder(nn.Module):
    """Scale times the correlation between embeddings, after a linear map of each side or without.

    Parameters
    ----------
    width
        Width of the embeddings.
    scale
        Factor of the correlation: 8 for logits, 15 for ln IC50 and for logits of similarity.
    linear
        Whether each side has a linear map first.
    tied
        Whether both sides share that map.
    """

    def __init__(self, width: int, *, scale: float, linear: bool = True, tied: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.left = nn.Linear(width, width) if linear else nn.Identity()
        self.right = nn.Linear(width, width) if linear and not tied else self.left

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Decode (rows, width) and (columns, width) to (rows, columns)."""
        return self.scale * row_correlation(self.left(left), self.right(right))
