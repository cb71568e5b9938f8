"""Branches and heads of DeepCDR: cells, further measurements of lines, and what joins cells and drugs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...nn._mlp import MLP
from ...nn._molecule_graph import atom_norm

#: Shortest input that the published mutation branch takes.
_SHORTEST = 1400


class Standardise(nn.Module):
    """Subtract a mean, divide by a standard deviation; both are set before training."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, x: Tensor) -> None:
        """Set mean and standard deviation of the rows that have no missing value."""
        complete = x[torch.isfinite(x).all(dim=1)]
        if len(complete) > 1:
            spread = complete.std(dim=0, correction=0)
            self.mean, self.scale = complete.mean(dim=0), torch.where(spread > 1e-6, spread, torch.ones_like(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise rows × features."""
        return (x - self.mean) / self.scale


def published_branch(width: int) -> nn.Sequential:
    """Expression and methylation branch of Liu et al. 2020: 256 tanh, batch norm, dropout, 100 ReLU."""
    return nn.Sequential(
        nn.Linear(width, 256), nn.Tanh(), atom_norm("keras", 256), nn.Dropout(0.1), nn.Linear(256, 100), nn.ReLU()
    )


def mutation_branch(width: int) -> nn.Sequential:
    """Mutation branch of Liu et al. 2020: two convolutions along the genome, then 100 units.

    Raises
    ------
    ValueError
        If there are too few positions for its windows.
    """
    if width < _SHORTEST:
        raise ValueError(
            f"The published mutation branch convolves windows of 700 positions and needs {_SHORTEST} at least; found "
            f"{width}. Train without a preset, which uses a plain branch."
        )
    length = ((width - 700) // 5 + 1) // 5
    length = ((length - 5) // 2 + 1) // 10
    return nn.Sequential(
        nn.Unflatten(1, (1, width)),
        nn.Conv1d(1, 50, 700, stride=5),
        nn.Tanh(),
        nn.MaxPool1d(5),
        nn.Conv1d(50, 30, 5, stride=2),
        nn.ReLU(),
        nn.MaxPool1d(10),
        nn.Flatten(),
        nn.Linear(30 * length, 100),
        nn.ReLU(),
        nn.Dropout(0.1),
    )


class CellEncoder(nn.Module):
    """One branch for expression or an embedding, and one for each further measurement, side by side.

    Parameters
    ----------
    widths
        Number of features of each block of columns, by name; the first is never missing.
    hidden
        Widths of a branch, the last that of its code. `None` for the published branches.
    dropout
        Share of units that are dropped in training.
    standardise
        Whether features are standardised first.

    Notes
    -----
    A row whose block holds NaN has no such measurement: its branch is replaced by a vector that is learned.
    """

    def __init__(
        self, widths: dict[str, int], *, hidden: Sequence[int] | None, dropout: float, standardise: bool
    ) -> None:
        super().__init__()
        self.widths = list(widths.values())
        self.scalers = nn.ModuleList(Standardise(width) if standardise else nn.Identity() for width in self.widths)
        if hidden is None:
            self.branches = nn.ModuleList(
                mutation_branch(width) if "mutation" in name else published_branch(width)
                for name, width in widths.items()
            )
            n_code = 100
        else:
            self.branches = nn.ModuleList(
                MLP(width, hidden[:-1], hidden[-1], activation="gelu", dropout=dropout, input_dropout=min(dropout, 0.1))
                for width in self.widths
            )
            n_code = hidden[-1]
        self.absent = nn.Parameter(torch.zeros(len(self.widths), n_code))
        self.n_out = n_code * len(self.widths)

    def fit_scale(self, x: Tensor) -> None:
        """Standardise by these rows (rows × all features)."""
        for scaler, part in zip(self.scalers, x.split(self.widths, dim=1), strict=True):
            if isinstance(scaler, Standardise):
                scaler.fit(part)

    def forward(self, x: Tensor) -> Tensor:
        """Encode rows × all features to rows × n_out."""
        codes = []
        for i, part in enumerate(x.split(self.widths, dim=1)):
            present = torch.isfinite(part).all(dim=1, keepdim=True)
            # replaced before the branch: NaN times zero is NaN, also in the gradient
            code = self.branches[i](self.scalers[i](torch.where(present, part, 0.0)))
            codes.append(torch.where(present, code, self.absent[i]))
        return torch.cat(codes, dim=1)


class ConvHead(nn.Module):
    """Head of Liu et al. 2020: 300 units, three convolutions along them, one output."""

    def __init__(self, n_cell: int, n_drug: int) -> None:
        super().__init__()
        self.cell, self.drug = nn.Linear(n_cell, 300), nn.Linear(n_drug, 300, bias=False)
        self.layers = nn.Sequential(
            nn.Tanh(),
            nn.Dropout(0.1),
            nn.Unflatten(1, (1, 300)),
            # pooling before ReLU gives the same, on half of the values
            nn.Conv1d(1, 30, 150),
            nn.MaxPool1d(2),
            nn.ReLU(),
            nn.Conv1d(30, 10, 5),
            nn.MaxPool1d(3),
            nn.ReLU(),
            nn.Conv1d(10, 5, 5),
            nn.MaxPool1d(3),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(30, 1),
        )

    def forward(self, cells: Tensor, drugs: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Output of each pair of a row of `cells` and a row of `drugs`."""
        # a linear map of two codes side by side is the sum of two maps, each computed once and not once per pair
        return self.layers(self.cell(cells)[row] + self.drug(drugs)[column])[:, 0]


class PlainHead(nn.Module):
    """Inner product of the codes plus two layers on their sum."""

    def __init__(self, n_cell: int, n_drug: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.cell, self.drug = nn.Linear(n_cell, width), nn.Linear(n_drug, width)
        self.cell_factor, self.drug_factor = nn.Linear(n_cell, width), nn.Linear(n_drug, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1)
        )
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, cells: Tensor, drugs: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Output of each pair of a row of `cells` and a row of `drugs`."""
        left, right = self.dropout(self.cell_factor(cells)), self.dropout(self.drug_factor(drugs))
        product = (left[row] * right[column]).sum(dim=1) / left.shape[1]
        return self.layers(self.cell(cells)[row] + self.drug(drugs)[column])[:, 0] + product
