"""The network: private and shared encoders, a dense and a pathway decoder, and a head for all drugs."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...nn import MLP, MaskedLinear
from .._schema import Count, Name, Part, Share, Size, Widths


class Sizes(Part):
    """What the network's shape follows from, as it stands in a model file."""

    n_panel: Size
    n_genes: Size
    n_latent: Size
    n_drugs: Size
    n_hidden: Size
    n_head: Widths
    dropout: Share
    norm: Literal["batch", "layer", "none"]
    private: bool
    shared: bool
    pathways: bool
    relu: bool
    linear: bool


class PathwayState(Part):
    """What the model keeps beside its arrays."""

    sizes: Sizes
    domain: Literal["bulk", "cells"]
    n_cells: Count
    pathways: list[Name]
    table: dict[str, list[Any]] | None


class Reconstruction(NamedTuple):
    """One domain seen through the autoencoder."""

    #: What the head reads (rows × latent).
    code: Tensor
    #: What only this domain has, if there is a shared encoder too (rows × latent).
    private: Tensor | None
    #: Standardised expression again (rows × genes read).
    dense: Tensor
    sparse: Tensor | None


class DomainAutoencoder(nn.Module):
    """Encoders and decoders of He et al. 2025 (eq. 1-10).

    Parameters
    ----------
    sizes
        Widths, and which parts there are.
    mask
        Genes read × latent, for the pathway decoder; free nodes are columns of ones.
    """

    def __init__(self, sizes: Sizes, mask: Tensor | None) -> None:
        super().__init__()

        def mlp(n_in: int, n_out: int) -> MLP:
            norm = None if sizes.norm == "none" else sizes.norm
            return MLP(n_in, [sizes.n_hidden], n_out, norm=norm, dropout=sizes.dropout)

        n_codes = int(sizes.private) + int(sizes.shared)
        self.shared = mlp(sizes.n_genes, sizes.n_latent) if sizes.shared else None
        domains = ("bulk", "cells") if sizes.private else ()
        self.private = nn.ModuleDict({domain: mlp(sizes.n_genes, sizes.n_latent) for domain in domains})
        self.dense = mlp(n_codes * sizes.n_latent, sizes.n_genes)
        self.sparse = MaskedLinear(mask) if mask is not None else None
        self.relu = sizes.relu

    def encoder(self, domain: str) -> MLP:
        """Encoder of what the head reads: the shared one if there is one, else the domain's own."""
        return self.private[domain] if self.shared is None else self.shared

    def code(self, x: Tensor, domain: str) -> Tensor:
        """What the head reads (rows × latent)."""
        return self.encoder(domain)(x)

    def decode_sparse(self, code: Tensor) -> Tensor:
        """Expression from pathways alone, eq. 8-9 (rows × genes read)."""
        assert self.sparse is not None
        expression = self.sparse(code)
        return torch.relu(expression) if self.relu else expression

    def forward(self, rows: dict[str, Tensor]) -> dict[str, Reconstruction]:
        """Encode and decode rows of each domain (rows × genes read).

        All domains go through shared parts in one batch: statistics of batch norm are then of lines and cells
        together, in training as in evaluation.
        """
        sizes = [len(x) for x in rows.values()]
        private = {domain: self.private[domain](x) for domain, x in rows.items()} if len(self.private) else {}
        if self.shared is None:
            code = torch.cat(list(private.values()))
            dense = self.dense(code)
        else:
            code = self.shared(torch.cat(list(rows.values())))
            dense = self.dense(torch.cat([torch.cat(list(private.values())), code], dim=1) if private else code)
        sparse = [None] * len(rows) if self.sparse is None else self.decode_sparse(code).split(sizes)
        parts = zip(rows, code.split(sizes), dense.split(sizes), sparse, strict=True)
        return {
            domain: Reconstruction(c, private.get(domain) if self.shared is not None else None, d, s)
            for domain, c, d, s in parts
        }


class PathwayModule(nn.Module):
    """Expression in, responses to all drugs out.

    Parameters
    ----------
    sizes
        Widths, and which parts there are.
    mask
        Genes read × latent, for the pathway decoder.
    """

    genes: Tensor
    mean: Tensor
    sd: Tensor
    drug_mean: Tensor
    drug_sd: Tensor
    gate: Tensor
    linear: Tensor
    intercept: Tensor

    def __init__(self, sizes: Sizes, mask: Tensor | None) -> None:
        super().__init__()
        self.sizes = sizes
        if mask is None and sizes.pathways:
            mask = torch.ones(sizes.n_genes, sizes.n_latent, dtype=torch.bool)  # loading fills it in
        self.autoencoder = DomainAutoencoder(sizes, mask)
        # dropout after the first layer only, as in the released code
        shares = [sizes.dropout if number == 0 else 0.0 for number in range(len(sizes.n_head))]
        self.head = MLP(sizes.n_latent, sizes.n_head, sizes.n_drugs, dropout=shares)
        self.register_buffer("genes", torch.arange(sizes.n_genes))
        self.register_buffer("mean", torch.zeros(sizes.n_genes))
        self.register_buffer("sd", torch.ones(sizes.n_genes))
        self.register_buffer("drug_mean", torch.zeros(sizes.n_drugs))
        self.register_buffer("drug_sd", torch.ones(sizes.n_drugs))
        #: Share of the network in the prediction; the rest is the linear path's.
        self.register_buffer("gate", torch.ones(()))
        self.register_buffer("linear", torch.zeros(sizes.n_panel if sizes.linear else 0, sizes.n_drugs))
        self.register_buffer("intercept", torch.zeros(sizes.n_drugs))
        #: Mean and standard deviation of the code over the lines, and the sign that makes a pathway's genes go up.
        for name, value in (("code_mean", 0.0), ("code_sd", 1.0), ("orientation", 1.0)):
            self.register_buffer(name, torch.full((sizes.n_latent,), value))

    @torch.no_grad()
    def fill(self, **values: np.ndarray | float) -> None:
        """Put numbers into buffers."""
        for name, value in values.items():
            buffer = getattr(self, name)
            buffer.copy_(torch.as_tensor(np.asarray(value)).to(buffer.dtype))

    def read(self, expression: Tensor) -> Tensor:
        """Select and standardise genes (rows × panel → rows × genes read)."""
        return (
            expression.index_select(1, self.genes).sub_(self.mean).div_(self.sd)
        )  # in place: memory is what takes time

    def encode(self, expression: Tensor, domain: str = "cells") -> Tensor:
        """Code that the head reads (rows × latent)."""
        return self.autoencoder.code(self.read(expression), domain)

    def respond(self, code: Tensor) -> Tensor:
        """What the network by itself predicts (rows × drugs)."""
        return self.drug_mean + self.drug_sd * self.head(code)

    def forward(self, expression: Tensor, domain: str = "cells") -> Tensor:
        """Responses, or logits of being sensitive (rows × drugs)."""
        out = self.respond(self.encode(expression, domain))
        if not self.sizes.linear:
            return out
        return self.share(out, torch.addmm(self.intercept, expression, self.linear))

    @torch.no_grad()
    def first_layer(self, domain: str) -> tuple[Tensor, Tensor]:
        """First layer of a domain's encoder on raw expression: weights (panel × hidden), zero for genes not read, and bias."""
        read, bias = self._first_layer_read(domain)
        weights = torch.zeros(self.sizes.n_panel, self.sizes.n_hidden, device=read.device)
        weights[self.genes] = read
        return weights, bias

    def first_values(self, expression: Tensor, domain: str) -> Tensor:
        """Values of the first layer (rows × hidden), without a standardised copy of the expression (rows × panel)."""
        weights, bias = self._first_layer_read(domain)
        return torch.addmm(bias, expression.index_select(1, self.genes), weights)

    def _first_layer_read(self, domain: str) -> tuple[Tensor, Tensor]:
        linear = self.autoencoder.encoder(domain).hidden[0][0]
        return (linear.weight / self.sd).T, linear.bias - linear.weight @ (self.mean / self.sd)

    def after_first_layer(self, values: Tensor, domain: str) -> Tensor:
        """Code (rows × latent) that follows from values of the first layer (rows × hidden)."""
        encoder = self.autoencoder.encoder(domain)
        return encoder.output(encoder.hidden[1:](encoder.hidden[0][1:](values)))

    def respond_after_first(self, first: Tensor, expression: Tensor, drugs: Tensor, domain: str) -> Tensor:
        """Predictions (rows × drugs) from values of the first layer and of the linear prior, side by side.

        Where the first layer was left out, it is computed from the expression (rows × panel).
        """
        n_hidden = first.shape[1] - (len(drugs) if self.sizes.linear else 0)
        hidden = first[:, :n_hidden] if n_hidden else self.first_values(expression, domain)
        out = self.respond(self.after_first_layer(hidden, domain))[:, drugs]
        return self.share(out, first[:, n_hidden:]) if self.sizes.linear else out

    def share(self, network: Tensor, linear: Tensor) -> Tensor:
        """Prediction of network and linear path together."""
        return torch.lerp(linear, network, self.gate)


def make_critic(n_latent: int, *, dropout: float) -> nn.Sequential:
    """Critic of the adversarial variants: Linear(L→32) → ReLU → BN → Dropout → Linear(32→1)."""
    return nn.Sequential(nn.Linear(n_latent, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(dropout), nn.Linear(32, 1))
