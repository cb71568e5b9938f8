"""Unlabelled cells of the training: where they come from, and what may not come with them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..._audit import check_unseen
from ..._validate import check_key, examples
from ...pp._checks import check_cells
from ...pp._domains import BULK, CELLS
from ...pp._place import place_cells
from ...pp._profile import ReferenceProfile
from .._data import dense_expression

if TYPE_CHECKING:
    from anndata import AnnData

    from ._model import PathwayTransfer


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


def harmonized_cells(model: PathwayTransfer, bulk: np.ndarray, source: CellSource) -> np.ndarray | None:
    """Cells to learn from on the reference's scale (cells × panel), or `None`.

    Parameters
    ----------
    model
        Model that was set up.
    bulk
        Which rows of its AnnData are lines (bool).
    source
        Cells that are not in its AnnData.

    Raises
    ------
    ValueError
        If there are two sources of cells, or none where the settings need them.
    RuntimeError
        If the cells were let go after an earlier training.
    """
    settings, cells = model.settings, source.cells
    if source.released:
        raise RuntimeError(
            "PathwayTransfer keeps no cells once it is trained. Create a new model with `cells` to train again."
        )
    if cells is not None and not bulk.all():
        raise ValueError("The model was set up on lines and cells together: leave out `cells`.")
    if cells is None and bulk.all():
        if settings.needs_cells:
            raise ValueError(
                f"`variant={settings.variant!r}` with `align={settings.align!r}` compares two domains, and there are lines only. "
                "Create it with `cells`, or set the model up on scdrug.pp.join_domains(reference, cells)."
            )
        warnings.warn(
            "There are lines only: the code is learned without cells, and nothing brings the two domains together. Create "
            "the model with `cells`, or set the model up on scdrug.pp.join_domains(reference, cells).",
            UserWarning,
            stacklevel=4,
        )
        return None
    expression = dense_expression(model.adata, model._setup_arg("layer"))
    if cells is None:
        return take_rows(expression, ~bulk)
    check_cells(cells)
    check_unseen(cells.obs_names, None, where="PathwayTransfer.train")
    profile = ReferenceProfile.fit(expression, model.genes)
    placed = place_cells(cells, profile, method=source.method, scale=source.scale, layer=source.layer, min_coverage=0.3)
    return placed.values()
