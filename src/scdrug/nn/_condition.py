"""The condition of a sample: structure, dose and time of a treatment as one number per gene."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Dose (µM) and time (h) that become one.
DOSE_UNIT, TIME_UNIT = 100.0, 72.0


class ConditionEncoder(nn.Module):
    """Chemical condition encoder (Bang et al. 2024, section 3.1.1).

    Dose / 100 µM and time / 72 h become two numbers each; together with the vector of the structure they pass
    Linear (no bias) → batch norm → ReLU → dropout.

    Parameters
    ----------
    n_structure
        Length of a structure's vector.
    n_genes
        Length of the condition.
    dropout
        Share of units that are dropped in training.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import ConditionEncoder
    >>> encoder = ConditionEncoder(8, 5)
    >>> encoder(torch.randn(3, 8), torch.full((3,), 10.0), torch.full((3,), 24.0)).shape
    torch.Size([3, 5])
    """

    def __init__(self, n_structure: int, n_genes: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.dose, self.time = nn.Linear(1, 2), nn.Linear(1, 2)
        self.project = nn.Sequential(
            nn.Linear(n_structure + 4, n_genes, bias=False), nn.BatchNorm1d(n_genes), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, structure: Tensor, dose: Tensor, time: Tensor) -> Tensor:
        """Encode conditions.

        Parameters
        ----------
        structure
            Samples × n_structure.
        dose
            µM (samples).
        time
            Hours (samples).

        Returns
        -------
        Samples × genes, ≥ 0.
        """
        dose_code, time_code = self.dose(dose[:, None] / DOSE_UNIT), self.time(time[:, None] / TIME_UNIT)
        return self.project(torch.cat([structure, dose_code, time_code], dim=1))
