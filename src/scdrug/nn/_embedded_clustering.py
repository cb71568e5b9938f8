"""Clusters that a network sharpens by itself: deep embedded clustering (Xie et al. 2016)."""

from __future__ import annotations

from torch import Tensor


def soft_assignment(latent: Tensor, centers: Tensor) -> Tensor:
    """Probability of each cluster by Student's t kernel with one degree of freedom (Xie et al. 2016, eq. 1).

    Parameters
    ----------
    latent
        Codes (cells × latent).
    centers
        Cluster centres (clusters × latent).

    Returns
    -------
    Cells × clusters; rows sum to 1.

    Notes
    -----
    The released AttentionAE-sc squares these numbers, by the precedence of an operator; this is the equation.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import soft_assignment
    >>> soft_assignment(torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0]]))
    tensor([[0.6667, 0.3333]])
    """
    weight = 1.0 / (1.0 + (latent[:, None] - centers).square().sum(dim=-1))
    return weight / weight.sum(dim=1, keepdim=True)


def target_distribution(assignment: Tensor) -> Tensor:
    """Sharpened assignment p ∝ q² / Σ_cells q that clusters are pulled towards (Xie et al. 2016, eq. 3).

    Parameters
    ----------
    assignment
        Soft assignment q of *all* cells (cells × clusters).

    Returns
    -------
    Cells × clusters; rows sum to 1.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import target_distribution
    >>> target_distribution(torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    tensor([[0.9412, 0.0588],
            [0.0588, 0.9412]])
    """
    weight = assignment.square() / assignment.sum(dim=0, keepdim=True)
    return weight / weight.sum(dim=1, keepdim=True)
