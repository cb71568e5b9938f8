"""Denoising autoencoder whose codes attend to other cells, for clustering (AttentionAE-sc, Li et al. 2023)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._mlp import relative_noise

_HIDDEN = (256, 64)


class CellCodes(NamedTuple):
    """What cells show to the cells that attend to them."""

    #: First hidden layer (cells × 256), input of the graph stream.
    first: Tensor
    #: Second hidden layer before attention (cells × 64).
    second: Tensor
    #: First layer of the graph stream (cells × 64).
    graph: Tensor
    #: Latent code before attention (cells × latent).
    latent: Tensor


class EncodedCells(NamedTuple):
    """Result of :meth:`AttentionAutoencoder.encode`."""

    #: Latent code (cells × latent), what is clustered.
    latent: Tensor
    #: Second layer of the graph stream (cells × latent), from which edges are decoded.
    graph: Tensor
    #: The cells as context of others.
    codes: CellCodes


class Reconstruction(NamedTuple):
    """Parameters of the decoded counts (cells × genes); only the mean without counts."""

    mean: Tensor
    dispersion: Tensor | None
    dropout_logits: Tensor | None


class CrossAttention(nn.Module):
    """Multi-head attention in which every head has the full width of the code.

    h + W_o [softmax(q_a k_aᵀ / √e) v_a]_a, with queries from the graph stream and keys and values from the expression
    stream; no biases; dropout on the queries.

    Parameters
    ----------
    width
        Width e of the codes and of each head.
    n_heads
        Number of heads.
    dropout
        Share of query entries dropped in training.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import CrossAttention
    >>> attention = CrossAttention(4, n_heads=2)
    >>> attention(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(9, 4)).shape
    torch.Size([3, 4])
    """

    def __init__(self, width: int, *, n_heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.width, self.n_heads = width, n_heads
        self.queries = nn.Linear(width, n_heads * width, bias=False)
        self.keys = nn.Linear(width, n_heads * width, bias=False)
        self.values = nn.Linear(width, n_heads * width, bias=False)
        self.output = nn.Linear(n_heads * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, graph: Tensor, code: Tensor, context: Tensor) -> Tensor:
        """Add to each code what it attends to.

        Parameters
        ----------
        graph
            Graph stream of the cells (cells × width).
        code
            Expression stream of the cells (cells × width).
        context
            Expression stream of the cells that are attended to (context × width).

        Returns
        -------
        Cells × width.
        """
        heads = (self._heads(self.dropout(self.queries(graph))), *map(self._heads, self._pairs(context)))
        attended = F.scaled_dot_product_attention(*heads)  # scales by 1/√width
        return code + self.output(attended.transpose(0, 1).flatten(1))

    def _pairs(self, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.keys(context), self.values(context)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.n_heads, self.width).transpose(0, 1)


class AttentionAutoencoder(nn.Module):
    """Autoencoder of expression, fused by attention with a graph of similar cells.

    Encoder G → 256 → 64 → latent, each with relative Gaussian noise before it in training, ReLU and batch norm on the
    hidden layers. Graph stream g₁ = tanh(A h₁ W₁), g₂ = tanh(A g₁ W₂). Attention after the second layer and after the
    latent one. Decoder latent → 64 → 256 → zero-inflated negative binomial, or mean. Cells attend to a context: to the
    cells of their batch in training, to fixed landmark cells otherwise. No matrix is larger than cells × context, and the
    code of a cell does not depend on its batch once the landmarks are given.

    Parameters
    ----------
    n_genes
        Number of genes G.
    n_latent
        Length of the code.
    n_heads
        Attention heads.
    noise
        Standard deviation of the noise relative to the value.
    dropout
        Dropout on the queries.
    counts
        Whether to decode a zero-inflated negative binomial of counts; a mean only otherwise.

    Notes
    -----
    The paper attends between all cells at once, at most 4,000. With a batch of all cells this is the same.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import AttentionAutoencoder
    >>> network = AttentionAutoencoder(20, n_latent=4, n_heads=2).eval()
    >>> network.encode(torch.randn(5, 20), torch.eye(5)).latent.shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        n_genes: int,
        *,
        n_latent: int = 16,
        n_heads: int = 8,
        noise: float = 0.1,
        dropout: float = 0.2,
        counts: bool = True,
    ) -> None:
        super().__init__()
        wide, narrow = _HIDDEN
        self.noise, self.counts = noise, counts
        self.first = nn.Linear(n_genes, wide)
        self.first_norm = nn.BatchNorm1d(wide)
        self.second = nn.Linear(wide, narrow)
        self.second_norm = nn.BatchNorm1d(narrow)
        self.latent = nn.Linear(narrow, n_latent)
        self.graph_first = nn.Linear(wide, narrow, bias=False)
        self.graph_second = nn.Linear(narrow, n_latent, bias=False)
        self.attention_second = CrossAttention(narrow, n_heads=n_heads, dropout=dropout)
        self.attention_latent = CrossAttention(n_latent, n_heads=n_heads, dropout=dropout)
        self.decoder = nn.Sequential(nn.Linear(n_latent, narrow), nn.ReLU(), nn.Linear(narrow, wide), nn.ReLU())
        self.mean = nn.Linear(wide, n_genes)
        self.dispersion = nn.Linear(wide, n_genes) if counts else None
        self.dropout_logits = nn.Linear(wide, n_genes) if counts else None

    def encode(self, x: Tensor, edges: Tensor, context: CellCodes | None = None) -> EncodedCells:
        """Encode cells that attend to a context.

        Parameters
        ----------
        x
            Standardised expression (cells × genes).
        edges
            Weights of the graph between cells and context (cells × context); each row should sum to 1.
        context
            Codes of the landmarks; the cells themselves if omitted.

        Returns
        -------
        Codes.
        """
        first = self.first_norm(F.relu(self.first(self._noisy(x))))
        second = self.second_norm(F.relu(self.second(self._noisy(first))))
        graph = torch.tanh(edges @ self.graph_first(first if context is None else context.first))
        fused = self.attention_second(graph, second, second if context is None else context.second)
        latent = self.latent(self._noisy(fused))
        graph_latent = torch.tanh(edges @ self.graph_second(graph if context is None else context.graph))
        code = self.attention_latent(graph_latent, latent, latent if context is None else context.latent)
        return EncodedCells(code, graph_latent, CellCodes(first, second, graph, latent))

    def decode(self, latent: Tensor, size_factor: Tensor) -> Reconstruction:
        """Decode codes.

        Parameters
        ----------
        latent
            Codes (cells × latent).
        size_factor
            Total count of each cell relative to the median cell (cells); not used without counts.

        Returns
        -------
        Parameters of the distribution of counts, or the mean alone.
        """
        hidden = self.decoder(latent)
        if self.dispersion is None or self.dropout_logits is None:
            return Reconstruction(self.mean(hidden), None, None)
        # clamped before exp, so that a large value has a zero and not an infinite gradient
        mean = torch.exp(self.mean(hidden).clamp(math.log(1e-5), math.log(1e4))) * size_factor[:, None]
        dispersion = F.softplus(self.dispersion(hidden)).clamp(1e-4, 1e3)
        return Reconstruction(mean, dispersion, self.dropout_logits(hidden))

    def _noisy(self, x: Tensor) -> Tensor:
        return relative_noise(x, self.noise) if self.training else x


def zinb_loss(counts: Tensor, decoded: Reconstruction) -> Tensor:
    """Negative log-likelihood of a zero-inflated negative binomial (Eraslan et al. 2019, eq. 3).

    Parameters
    ----------
    counts
        Observed counts (cells × genes).
    decoded
        Mean, dispersion (variance μ + μ²/θ) and logits of the extra zeros, of the same shape.

    Returns
    -------
    Mean over all entries.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import zinb_loss
    >>> from scdrug.nn._attention_autoencoder import Reconstruction
    >>> one = torch.ones(1, 1)  # NB with mean 1 and dispersion 1 is geometric: P(0) = 1/2
    >>> round(float(zinb_loss(0 * one, Reconstruction(one, one, -30 * one)).exp()), 4)
    2.0
    """
    mean, theta, logits = decoded
    if theta is None or logits is None:
        raise ValueError("A loss of counts needs dispersion and dropout logits; decode with `counts=True`.")
    log_zero = theta * (torch.log(theta) - torch.log(theta + mean))
    # log π and log(1 − π) from the logits; softplus keeps both finite
    zeros = F.softplus(log_zero - logits) - F.softplus(-logits)
    positive = counts > 0  # few: log-gamma functions, the slow part, are needed for these alone
    k, m, t = counts[positive], mean[positive], theta[positive]
    others = (
        log_zero[positive]
        + k * (torch.log(m) - torch.log(t + m))
        + torch.lgamma(k + t)
        - torch.lgamma(t)
        - torch.lgamma(k + 1)
        - F.softplus(logits[positive])
    )
    return -(zeros.masked_fill(positive, 0.0).sum() + others.sum()) / counts.numel()
