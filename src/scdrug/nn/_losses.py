"""Losses that know missing values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-6


def masked_mse(predicted: Tensor, observed: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean squared error over measured entries.

    Parameters
    ----------
    predicted
        Any shape.
    observed
        The same shape; NaN = not measured. Missing entries have no effect on the value, and no gradient.
    weight
        Weight of each entry, broadcast to the shape.

    Returns
    -------
    Scalar Σ w (ŷ − y)² / Σ w over measured entries; 0 if there are none.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import masked_mse
    >>> float(masked_mse(torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")])))
    4.0
    """
    measured = torch.isfinite(observed)
    # select before computing: NaN · 0 is NaN, also in the gradient
    error = torch.where(measured, predicted - torch.where(measured, observed, 0.0), 0.0)
    return _weighted_mean(error.square(), measured, weight)


def masked_bce(
    logits: Tensor, labels: Tensor, *, weight: Tensor | None = None, pos_weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of logits over labelled entries.

    Parameters
    ----------
    logits
        Any shape.
    labels
        The same shape: 0, 1, or NaN = no label. Missing entries have no effect on the value, and no gradient.
    weight
        Weight of each entry, broadcast to the shape.
    pos_weight
        Weight of the entries with label 1, broadcast to the shape.

    Returns
    -------
    Scalar mean over labelled entries; 0 if there are none.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import masked_bce
    >>> round(float(masked_bce(torch.tensor([0.0, 3.0]), torch.tensor([1.0, float("nan")]))), 4)
    0.6931
    """
    labelled = torch.isfinite(labels)
    loss = F.binary_cross_entropy_with_logits(
        torch.where(labelled, logits, 0.0),
        torch.where(labelled, labels, 0.0),
        reduction="none",
        pos_weight=pos_weight,
    )
    return _weighted_mean(torch.where(labelled, loss, 0.0), labelled, weight)


def _weighted_mean(values: Tensor, present: Tensor, weight: Tensor | None) -> Tensor:
    share = present.to(values.dtype) if weight is None else present * weight.to(values.dtype)
    return (values * share).sum() / share.sum().clamp(min=1e-12 if weight is not None else 1.0)


def orthogonality(private: Tensor, shared: Tensor) -> Tensor:
    """How much of a shared code can be read from a private one.

    With each row divided by its length, ‖Ŝᵀ P̂‖² averaged over the entries of that matrix (He et al. 2025, eq. 6, as
    CODE-AE computes it). Lengths carry no gradient, so that codes cannot become orthogonal by growing.

    Parameters
    ----------
    private, shared
        Codes (rows × latent) of the same rows.

    Returns
    -------
    Scalar, 0 if the columns of the two are orthogonal over the rows.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import orthogonality
    >>> code = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> float(orthogonality(code, code.flip(1)).round(decimals=3))
    0.5
    """
    p = private / (private.norm(dim=1, keepdim=True).detach() + _EPSILON)
    s = shared / (shared.norm(dim=1, keepdim=True).detach() + _EPSILON)
    return (s.T @ p).square().mean()
