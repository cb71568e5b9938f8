"""The encoder of scFoundation (Hao et al. 2024), for inference."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._transformer import AttentionBlock


class _ValueEmbedding(nn.Module):
    """A value as a mixture of learned vectors: softmax of a small network weighs them."""

    def __init__(self, width: int, n_bins: int, skip: float) -> None:
        super().__init__()
        self.mlp, self.mlp2 = nn.Linear(1, n_bins), nn.Linear(n_bins, n_bins)
        self.emb, self.emb_mask, self.emb_pad = (
            nn.Embedding(n_bins, width),
            nn.Embedding(1, width),
            nn.Embedding(1, width),
        )
        self.skip = skip

    def forward(self, values: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.mlp(values[..., None]), 0.1)
        return (self.mlp2(hidden) + self.skip * hidden).softmax(dim=-1) @ self.emb.weight


class _Encoder(nn.Module):
    def __init__(self, width: int, n_heads: int, n_layers: int) -> None:
        super().__init__()
        self.transformer_encoder = nn.ModuleList(AttentionBlock(width, n_heads, 4 * width) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        for layer in self.transformer_encoder:
            x = layer(x, padding)
        return self.norm(x)


class ScFoundationEncoder(nn.Module):
    """Value and gene embeddings, summed, through post-norm transformer layers and a norm.

    Parameters
    ----------
    n_genes
        Genes and depth tokens; one more position serves as filling.
    width, n_heads, n_layers
        Sizes of the transformer.
    n_bins
        Vectors that values are mixed of.
    skip
        How much of the first layer is added to the second (``bin_alpha`` in checkpoints).

    Notes
    -----
    Names of parameters are those of the official checkpoints; the decoder is left out.
    """

    def __init__(self, n_genes: int, *, width: int, n_heads: int, n_layers: int, n_bins: int, skip: float) -> None:
        super().__init__()
        self.token_emb = _ValueEmbedding(width, n_bins, skip)
        self.pos_emb = nn.Embedding(n_genes + 1, width)
        self.encoder = _Encoder(width, n_heads, n_layers)

    def forward(self, values: Tensor, genes: Tensor, padding: Tensor | None = None) -> Tensor:
        """Vector of each token (cells × tokens × width).

        Parameters
        ----------
        values
            Log expression, and depths (cells × tokens).
        genes
            Position of each token's gene (cells × tokens).
        padding
            Tokens that only fill (cells × tokens, bool).
        """
        return self.encoder(self.token_emb(values) + self.pos_emb(genes), padding)


def pool_tokens(tokens: Tensor, n_tokens: Tensor, pool: str) -> Tensor:
    """Summarise the tokens of cells, of which the last two hold target and source depth.

    Parameters
    ----------
    tokens
        Cells × tokens × width, filled at the end.
    n_tokens
        Number of tokens of each cell, filling left out.
    pool
        ``"max"``: maximum over all tokens (width). ``"all"``: source depth, target depth, maximum and mean over genes (4 ×
        width).
    """
    position = torch.arange(tokens.shape[1], device=tokens.device)[None, :]
    if pool == "max":
        return tokens.masked_fill((position >= n_tokens[:, None])[..., None], -torch.inf).amax(dim=1)
    cell = torch.arange(len(tokens), device=tokens.device)
    gene = (position < n_tokens[:, None] - 2)[..., None]
    source, target = tokens[cell, n_tokens - 1], tokens[cell, n_tokens - 2]
    highest = tokens.masked_fill(~gene, -torch.inf).amax(dim=1)
    mean = (tokens * gene).sum(dim=1) / (n_tokens - 2)[:, None]
    return torch.cat([source, target, highest, mean], dim=1)
