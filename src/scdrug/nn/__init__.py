"""Building blocks of networks: torch only, no AnnData."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._alignment import coral, gradient_penalty, mmd
    from ._attention import GeneAttention
    from ._attention_autoencoder import AttentionAutoencoder, CrossAttention, zinb_loss
    from ._bipartite import BipartiteEncoder, BipartiteGraph
    from ._condition import ConditionEncoder
    from ._correlation import CorrelationDecoder, row_correlation
    from ._embedded_clustering import soft_assignment, target_distribution
    from ._graph_batch import GraphBatch
    from ._losses import masked_bce, masked_mse, orthogonality, ranking_error
    from ._masked import MaskedLinear
    from ._mlp import MLP, dense_block
    from ._molecule_attention import MoleculeAttention
    from ._molecule_graph import MoleculeGraphEncoder

_MODULES = {
    "AttentionAutoencoder": "_attention_autoencoder",
    "BipartiteEncoder": "_bipartite",
    "BipartiteGraph": "_bipartite",
    "ConditionEncoder": "_condition",
    "CorrelationDecoder": "_correlation",
    "CrossAttention": "_attention_autoencoder",
    "GeneAttention": "_attention",
    "GraphBatch": "_graph_batch",
    "MLP": "_mlp",
    "MaskedLinear": "_masked",
    "MoleculeAttention": "_molecule_attention",
    "MoleculeGraphEncoder": "_molecule_graph",
    "coral": "_alignment",
    "dense_block": "_mlp",
    "gradient_penalty": "_alignment",
    "masked_bce": "_losses",
    "masked_mse": "_losses",
    "mmd": "_alignment",
    "orthogonality": "_losses",
    "ranking_error": "_losses",
    "row_correlation": "_correlation",
    "soft_assignment": "_embedded_clustering",
    "target_distribution": "_embedded_clustering",
    "zinb_loss": "_attention_autoencoder",
}
__all__ = [
    "AttentionAutoencoder",
    "BipartiteEncoder",
    "BipartiteGraph",
    "ConditionEncoder",
    "CorrelationDecoder",
    "CrossAttention",
    "GeneAttention",
    "GraphBatch",
    "MLP",
    "MaskedLinear",
    "MoleculeAttention",
    "MoleculeGraphEncoder",
    "coral",
    "dense_block",
    "gradient_penalty",
    "masked_bce",
    "masked_mse",
    "mmd",
    "orthogonality",
    "ranking_error",
    "row_correlation",
    "soft_assignment",
    "target_distribution",
    "zinb_loss",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
