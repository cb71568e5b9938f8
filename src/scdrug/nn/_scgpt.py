"""The encoder of scGPT (Cui et al. 2024), for inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._transformer import AttentionBlock

#: Largest value that the value encoder tells apart.
_MAX_VALUE = 512.0


class _GeneEncoder(nn.Module):
    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        self.embedding, self.enc_norm = nn.Embedding(n_tokens, width), nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.enc_norm(self.embedding(tokens))


class _ValueEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2, self.norm = nn.Linear(1, width), nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Tensor:
        return self.norm(self.linear2(torch.relu(self.linear1(values[..., None].clamp(max=_MAX_VALUE)))))


class _Layers(nn.Module):
    def __init__(self, width: int, n_heads: int, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AttentionBlock(width, n_heads, n_hidden) for _ in range(n_layers))


class ScGPTEncoder(nn.Module):
    """Gene and value embeddings, summed, through post-norm transformer layers.

    Parameters
    ----------
    n_tokens
        Size of the vocabulary.
    width, n_heads, n_hidden, n_layers
        Sizes of the transformer.

    Notes
    -----
    Names of parameters are those of the official checkpoints once :func:`official_names` was applied; decoders are left out.
    """

    def __init__(self, n_tokens: int, *, width: int, n_heads: int, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.encoder, self.value_encoder = _GeneEncoder(n_tokens, width), _ValueEncoder(width)
        self.transformer_encoder = _Layers(width, n_heads, n_hidden, n_layers)

    def forward(self, tokens: Tensor, values: Tensor, padding: Tensor | None = None) -> Tensor:
        """Vector of the first token, which stands for the cell (cells × width).

        Parameters
        ----------
        tokens
            Position in the vocabulary (cells × tokens).
        values
            Binned expression (cells × tokens, float).
        padding
            Tokens that only fill (cells × tokens, bool).
        """
        x = self.encoder(tokens) + self.value_encoder(values)
        for layer in self.transformer_encoder.layers:
            x = layer(x, padding)
        return x[:, 0]


def official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the encoder in an official checkpoint, by the names that torch gives them.

    Checkpoints that were trained with fused attention call its projection ``Wqkv``; it holds query, key and value in the same
    order. Decoders and what else training needed are left out.

    Parameters
    ----------
    state
        Weights by name.
    """
    kept = ("encoder.", "value_encoder.", "transformer_encoder.")
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("module.").replace("self_attn._impl.", "self_attn.")
        if name.startswith(kept):
            renamed[name.replace("self_attn.Wqkv.", "self_attn.in_proj_")] = value
    return renamed
