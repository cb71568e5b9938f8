"""Distances between two samples of codes, to bring two domains together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mmd(x: Tensor, y: Tensor, *, widths: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)) -> Tensor:
    """Maximum mean discrepancy, squared, with a sum of Gaussian kernels (Gretton et al. 2012).

    Parameters
    ----------
    x, y
        Codes (rows × latent) of two domains; the numbers of rows may differ.
    widths
        Kernel widths in units of the median squared distance between all rows.

    Returns
    -------
    Scalar ≥ 0: mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y), averaged over widths; 0 for equal samples.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import mmd
    >>> float(mmd(torch.zeros(3, 2), torch.zeros(4, 2)))
    0.0
    """
    both = torch.cat([x, y])
    squared = (both[:, None] - both[None]).square().sum(-1) if len(both) <= 64 else _squared_distances(both)
    # the width is a constant of the batch: it must not be what training changes
    scale = squared.detach()[~torch.eye(len(both), dtype=torch.bool, device=both.device)].median().clamp(min=1e-12)
    kernel = sum(torch.exp(-squared / (width * scale)) for width in widths) / len(widths)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def _squared_distances(rows: Tensor) -> Tensor:
    lengths = rows.square().sum(1)
    return (lengths[:, None] + lengths[None] - 2 * rows @ rows.T).clamp(min=0)


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Distance of the covariances of two samples (Sun and Saenko 2016).

    Parameters
    ----------
    x, y
        Codes (rows × latent) of two domains, at least two rows each.

    Returns
    -------
    Scalar ‖C_x − C_y‖²_F / (4 d²) with d the latent size.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import coral
    >>> float(coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])))
    9.0
    """
    return (_covariance(x) - _covariance(y)).square().sum() / (4 * x.shape[1] ** 2)


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / max(len(x) - 1, 1)


def gradient_penalty(critic: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Penalty that keeps a critic near slope 1 between two samples (Gulrajani et al. 2017).

    Parameters
    ----------
    critic
        Maps codes (rows × latent) to one score per row.
    x, y
        Codes of two domains; the longer is cut to the length of the shorter.

    Returns
    -------
    Scalar mean (‖∇ critic‖ − 1)² at random points between pairs of rows.
    """
    n = min(len(x), len(y))
    share = torch.rand(n, 1, device=x.device)
    between = (share * x[:n] + (1 - share) * y[:n]).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()
