"""Building blocks of networks: torch only, no AnnData."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._alignment import coral, gradient_penalty, mmd
    from ._attention_autoencoder import AttentionAutoencoder, CrossAttention, zinb_loss
    from ._embedded_clustering import soft_assignment, target_distribution
    from ._losses import masked_bce, masked_mse, orthogonality
    from ._masked import MaskedLinear
    from ._mlp import MLP, dense_block

_MODULES = {
    "AttentionAutoencoder": "_attention_autoencoder",
    "CrossAttention": "_attention_autoencoder",
    "MLP": "_mlp",
    "MaskedLinear": "_masked",
    "coral": "_alignment",
    "dense_block": "_mlp",
    "gradient_penalty": "_alignment",
    "masked_bce": "_losses",
    "masked_mse": "_losses",
    "mmd": "_alignment",
    "orthogonality": "_losses",
    "soft_assignment": "_embedded_clustering",
    "target_distribution": "_embedded_clustering",
    "zinb_loss": "_attention_autoencoder",
}
__all__ = [
    "AttentionAutoencoder",
    "CrossAttention",
    "MLP",
    "MaskedLinear",
    "coral",
    "dense_block",
    "gradient_penalty",
    "masked_bce",
    "masked_mse",
    "mmd",
    "orthogonality",
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
