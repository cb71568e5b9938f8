"""Attention between genes under a condition, without a gene × gene matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: How attention acts on expression: as the weight matrix of the paper, by row sums as in the released code, or not at all.
PROPAGATIONS = ("matmul", "rowsum", "none")


class GeneAttention(nn.Module):
    """Condition-specific gene-gene attention with a prior network (Bang et al. 2024, section 3.1.2).

    Each gene has a code of `n_hidden` numbers, q_i = g_i w_i + c_i v_i, from its basal expression g and the condition c.
    The attention matrix is A = Q Qᵀ / √h, plus the prior network with ones on its diagonal. It acts on expression as

    - ``"matmul"``: y = A g, the equation of the paper;
    - ``"rowsum"``: y_i = g_i Σ_k A_ik, what the released code computes: other genes' expression has no part in it;
    - ``"none"``: y = g + c, the control without attention.

    Parameters
    ----------
    n_genes
        Number of genes G.
    n_hidden
        Length h of a gene's code.
    edges
        Prior network: pairs of gene positions (2 × edges), undirected, each once. ``None``: no prior and no ones on the
        diagonal either.
    propagation
        ``"matmul"``, ``"rowsum"`` or ``"none"``.

    Raises
    ------
    ValueError
        If `propagation` is unknown, or edges do not fit.

    Notes
    -----
    Since Q = diag(g) W + diag(c) V, all products with A are products of (rows × G) and (G × h) matrices: for ``"matmul"``
    t = (g ∘ g) W + (c ∘ g) V and y = [g ∘ (t Wᵀ) + c ∘ (t Vᵀ)] / √h + g P. Neither A nor Q is made; :meth:`matrices` makes A
    for tests. The 1/√h is in the released code and not in the paper.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import GeneAttention
    >>> layer = GeneAttention(4, 8, edges=torch.tensor([[0], [1]]))
    >>> g, c = torch.randn(3, 4), torch.rand(3, 4)
    >>> torch.allclose(layer(g, c), (layer.matrices(g, c) @ g[:, :, None])[:, :, 0], atol=1e-4)
    True
    """

    edges: Tensor | None

    def __init__(
        self, n_genes: int, n_hidden: int = 64, *, edges: Tensor | None = None, propagation: str = "matmul"
    ) -> None:
        super().__init__()
        if propagation not in PROPAGATIONS:
            raise ValueError(
                f"`propagation` must be one of {', '.join(map(repr, PROPAGATIONS))}; found {propagation!r}."
            )
        self.n_genes, self.n_hidden, self.propagation = n_genes, n_hidden, propagation
        self.register_buffer("edges", None if edges is None else _checked_edges(edges, n_genes))
        self._prior: Tensor | None = None
        if propagation != "none":
            self.basal_weight = nn.Parameter(torch.randn(n_genes, n_hidden))
            self.condition_weight = nn.Parameter(torch.randn(n_genes, n_hidden))

    def forward(self, basal: Tensor, condition: Tensor) -> Tensor:
        """Propagate expression through the attention of each sample.

        Parameters
        ----------
        basal
            Expression before treatment (samples × genes).
        condition
            Condition of each sample (samples × genes).

        Returns
        -------
        Samples × genes.
        """
        if self.propagation == "none":
            return basal + condition
        w, v = self.basal_weight, self.condition_weight
        by_row = self.propagation == "rowsum"
        code = basal @ w + condition @ v if by_row else (basal * basal) @ w + (condition * basal) @ v
        out = (basal * (code @ w.T) + condition * (code @ v.T)) / math.sqrt(self.n_hidden)
        if by_row:
            return basal * (out if self.edges is None else out + self._degree(basal))
        return out if self.edges is None else out + basal + self._spread(basal)

    # ------------------------------------------------------------------ prior

    def _prior_matrix(self, like: Tensor) -> Tensor:
        """Prior network without its diagonal, sparse, symmetric (genes × genes)."""
        prior = self._prior
        if prior is None or prior.device != like.device or prior.dtype != like.dtype:
            both = torch.cat([self.edges, self.edges.flip(0)], dim=1).to(like.device)
            ones = torch.ones(both.shape[1], dtype=like.dtype, device=like.device)
            # a buffer could not be sparse: model files hold plain arrays
            self._prior = prior = torch.sparse_coo_tensor(
                both, ones, (self.n_genes, self.n_genes), check_invariants=False
            ).coalesce()
        return prior

    def _spread(self, basal: Tensor) -> Tensor:
        return torch.sparse.mm(self._prior_matrix(basal), basal.T.contiguous()).T

    def _degree(self, like: Tensor) -> Tensor:
        counts = torch.bincount(self.edges.flatten(), minlength=self.n_genes)
        return counts.to(like.dtype) + 1

    # ------------------------------------------------------------------ explicit matrices

    def codes(self, basal: Tensor, condition: Tensor) -> Tensor:
        """Code of each gene in each sample (samples × genes × hidden)."""
        return basal[:, :, None] * self.basal_weight + condition[:, :, None] * self.condition_weight

    def matrices(self, basal: Tensor, condition: Tensor, *, prior: bool = True) -> Tensor:
        """Attention of each sample, made explicitly: for a few samples only.

        Parameters
        ----------
        basal, condition
            Samples × genes.
        prior
            Whether the prior network is added.

        Returns
        -------
        Samples × genes × genes, symmetric.
        """
        self._need_attention()
        codes = self.codes(basal, condition)
        attention = codes @ codes.mT / math.sqrt(self.n_hidden)
        return attention + self._explicit_prior(basal) if prior and self.edges is not None else attention

    def mean_matrix(self, basal: Tensor, condition: Tensor, *, prior: bool = True) -> Tensor:
        """Attention averaged over samples, exactly, without a matrix for each sample.

        Parameters
        ----------
        basal, condition
            Samples × genes; a condition of one row stands for all samples.
        prior
            Whether the prior network is added.

        Returns
        -------
        Genes × genes, symmetric.
        """
        self._need_attention()
        condition = condition.expand_as(basal)
        w, v, n = self.basal_weight, self.condition_weight, len(basal)
        mixed = (basal.T @ condition / n) * (w @ v.T)
        mean = (basal.T @ basal / n) * (w @ w.T) + (condition.T @ condition / n) * (v @ v.T) + mixed + mixed.T
        mean = mean / math.sqrt(self.n_hidden)
        return mean + self._explicit_prior(basal) if prior and self.edges is not None else mean

    def _explicit_prior(self, like: Tensor) -> Tensor:
        return self._prior_matrix(like).to_dense() + torch.eye(self.n_genes, dtype=like.dtype, device=like.device)

    def _need_attention(self) -> None:
        if self.propagation == "none":
            raise ValueError("A network with propagation='none' has no attention to look at.")


def _checked_edges(edges: Tensor, n_genes: int) -> Tensor:
    edges = torch.as_tensor(edges, dtype=torch.int64)
    if edges.ndim != 2 or len(edges) != 2:
        raise ValueError(f"`edges` must be pairs of gene positions, 2 × edges; found shape {tuple(edges.shape)}.")
    if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= n_genes):
        raise ValueError(
            f"`edges` must name positions of the {n_genes} genes; found {int(edges.min())}–{int(edges.max())}."
        )
    low, high = edges.min(dim=0).values, edges.max(dim=0).values
    pairs = torch.unique(torch.stack([low, high])[:, low < high], dim=1)
    if pairs.shape[1] != edges.shape[1]:
        raise ValueError("`edges` must hold each pair of different genes once. Remove loops and repeated pairs.")
    return pairs
