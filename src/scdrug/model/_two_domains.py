"""Models that learn from lines with responses and from unlabelled cells: two domains, of which one is labelled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._audit import check_unseen
from .._constants import KEYS
from .._validate import check_key, examples
from ..pp._checks import check_cells
from ..pp._domains import BULK, CELLS
from ..pp._place import place_cells
from ..pp._profile import ReferenceProfile
from ._batches import TrainingTask
from ._data import dense_expression
from ._network import NetworkModel
from ._options import TrainOptions

if TYPE_CHECKING:
    from anndata import AnnData


def check_domains(adata: AnnData, domain_key: str, response_key: str) -> None:
    """Raise unless domains are told apart, there are lines, and no cell carries a response.

    Raises
    ------
    ValueError
        If not.
    """
    if domain_key not in adata.obs:
        return
    check_key(dict(adata.obsm), response_key, where="adata.obsm", hint="A reference holds lines × drugs there.")
    domains = adata.obs[domain_key].astype(str)
    unknown = sorted(set(domains) - {BULK, CELLS})
    if unknown:
        raise ValueError(
            f"`adata.obs[{domain_key!r}]` must hold {BULK!r} and {CELLS!r}; found {examples(unknown)}. "
            "scdrug.pp.join_domains writes it."
        )
    bulk = (domains == BULK).to_numpy()
    if not bulk.any():
        raise ValueError(
            f"`adata.obs[{domain_key!r}]` has cells only. Responses are learned from bulk lines: join both with "
            "scdrug.pp.join_domains(reference, cells)."
        )
    labelled = pd.DataFrame(adata.obsm[response_key]).notna().to_numpy()[~bulk].any(axis=1)
    if labelled.any():
        raise ValueError(
            f"{int(labelled.sum())} cells have responses in `adata.obsm[{response_key!r}]`, such as "
            f"{examples(adata.obs_names[~bulk][labelled], 3)}: they would leak into training. Set them to NaN; "
            "scdrug.pp.join_domains does."
        )


def take_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of an array (bool): a view if they are one block, as joined domains are, so that cells are held once."""
    positions = np.flatnonzero(rows)
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions):
        return values[positions[0] : positions[-1] + 1]
    return values[rows]


@dataclass(frozen=True, eq=False)
class CellSource:
    """Unlabelled cells beside the lines, and how they are brought onto the reference's scale, see `pp.harmonize`."""

    cells: AnnData | None
    method: str
    layer: str | None
    scale: str
    #: Whether there were cells, which were let go when training was done.
    released: bool = False


def harmonized_cells(
    expression: np.ndarray, bulk: np.ndarray, source: CellSource, genes: np.ndarray, *, needed: str = ""
) -> np.ndarray | None:
    """Cells to learn from on the reference's scale (cells × panel), or `None`.

    Parameters
    ----------
    expression
        Lines, and cells that were joined with them (rows × panel).
    bulk
        Which rows are lines (bool).
    source
        Cells that are not among the rows.
    genes
        Panel.
    needed
        Why training makes no sense without cells, if so.

    Raises
    ------
    ValueError
        If there are two sources of cells, or none where the settings need them.
    RuntimeError
        If the cells were let go after an earlier training.
    """
    cells = source.cells
    if source.released:
        raise RuntimeError(
            "The model keeps no cells once it is trained. Create a new model with `cells` to train again."
        )
    if cells is not None and not bulk.all():
        raise ValueError("The model was set up on lines and cells together: leave out `cells`.")
    if cells is None and bulk.all():
        if needed:
            raise ValueError(
                f"{needed} compares two domains, and there are lines only. Create it with `cells`, or set the model up on "
                "scdrug.pp.join_domains(reference, cells)."
            )
        warnings.warn(
            "There are lines only: the code is learned without cells, and nothing brings the two domains together. Create "
            "the model with `cells`, or set the model up on scdrug.pp.join_domains(reference, cells).",
            UserWarning,
            stacklevel=4,
        )
        return None
    if cells is None:
        return take_rows(expression, ~bulk)
    check_cells(cells)
    check_unseen(cells.obs_names, None, where="train")
    profile = ReferenceProfile.fit(expression, genes)
    placed = place_cells(cells, profile, method=source.method, scale=source.scale, layer=source.layer, min_coverage=0.3)
    return placed.values()


class TwoDomainModel(NetworkModel):
    """Base of networks that are trained on lines and on unlabelled cells, joined in one AnnData or handed over beside it.

    Cells are let go when training is done, and leave no trace in files but their number.
    """

    def __init__(
        self, adata: AnnData | None = None, registry: dict[str, Any] | None = None, *, source: CellSource
    ) -> None:
        super().__init__(adata, registry)
        #: Unlabelled cells that it was trained on.
        self.n_cells_ = 0
        #: Domain whose rows are predicted.
        self.domain = CELLS
        self._cell_source = source
        self._cells: np.ndarray | None = None
        if adata is not None:
            self.reference_ = replace(self.reference, n_lines=int(self._bulk_rows().sum()))

    #: Why training makes no sense without cells, if so.
    _needs_cells: str = ""

    def _bulk_rows(self) -> np.ndarray:
        """Which rows are lines (bool)."""
        key = self.registry_["setup_args"].get("domain_key", KEYS.DOMAIN)
        if key not in self.adata.obs:
            return np.ones(self.adata.n_obs, dtype=bool)
        return (self.adata.obs[key].astype(str) == BULK).to_numpy()

    def _training_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        expression, response = super()._training_arrays()
        bulk = self._bulk_rows()
        return take_rows(expression, bulk), take_rows(response, bulk)

    def _training_names(self) -> pd.Index:
        return super()._training_names()[self._bulk_rows()]

    def _fit_to(self, options: TrainOptions) -> None:
        if self.adata is not None:
            bulk, expression = self._bulk_rows(), dense_expression(self.adata, self._setup_arg("layer"))
            self._cells = harmonized_cells(expression, bulk, self._cell_source, self.genes, needed=self._needs_cells)
            self.n_cells_ = 0 if self._cells is None else len(self._cells)
            self.domain = BULK if self._cells is None else CELLS
        try:
            super()._fit_to(options)
        finally:
            self._cells = None
        self._cell_source = replace(self._cell_source, cells=None, released=self._cell_source.cells is not None)

    def _training_inputs(self, task: TrainingTask) -> dict[str, Any]:
        return super()._training_inputs(task) | ({} if self._cells is None else {"cells": self._cells})

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        # where each domain has its own encoder, lines are read by theirs
        domain, self.domain = self.domain, BULK
        try:
            return super()._reference_predictions(expression, response)
        finally:
            self.domain = domain

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions, and how many unlabelled cells were trained on."""
        return super().provenance(n_training_cells=self.n_cells_, **extra)
