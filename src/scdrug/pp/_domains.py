"""Bulk lines and single cells in one object, on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples
from ._checks import check_cells
from ._place import place_cells
from ._profile import ReferenceProfile

if TYPE_CHECKING:
    from anndata import AnnData

#: Values of the column that tells the domains apart.
BULK, CELLS = "bulk", "cells"


@checked
def join_domains(
    reference: AnnData,
    cells: AnnData,
    *,
    method: str = "quantile",
    anchor: str = "similar",
    scale: str = "auto",
    layer: str | None = None,
    groupby: str | None = None,
    fit_on: str | None = None,
    n_cells: int | None = None,
    seed: int = 0,
    min_coverage: float = 0.3,
    response_key: str = KEYS.RESPONSE,
    domain_key: str = KEYS.DOMAIN,
    chunk_size: int | None = None,
) -> AnnData:
    """Put a bulk reference and unlabelled single cells into one object, on the reference's scale.

    This is what models that learn from both read, such as :class:`scdrug.model.PathwayTransfer`.

    Parameters
    ----------
    reference
        Bulk reference (see :func:`scdrug.pp.build_reference`): lines × genes, responses in `obsm`.
    cells
        Cells × genes: counts, CPM/TPM or logarithms. Whatever responses or labels they carry are left behind.
    method, anchor, groupby, fit_on
        How cells are brought onto the reference's scale, see :func:`scdrug.pp.harmonize`. ``method="gene_zscore",
        anchor="mean"`` standardises each gene within each domain; ``method="none"`` takes cells that are on the
        reference's scale already.
    scale
        Scale of `cells`: ``"counts"``, ``"linear"``, ``"log"``, ``"scaled"``, or ``"auto"`` to find out.
    layer
        Layer of `cells` to read; `X` if omitted.
    n_cells
        Cells to draw at random; all if omitted. All cells take part in harmonization.
    seed
        Seed of the draw.
    min_coverage
        Least share of the reference's genes that the cells must have.
    response_key
        Key of the responses in `reference.obsm`.
    domain_key
        Column of `obs` to write.
    chunk_size
        Rows a block; results do not depend on it.

    Returns
    -------
    New AnnData, lines and then cells × genes of the reference (float32), with `var`, `varm` and `uns` of the reference and

    ``obs["domain" | domain_key]`` : categorical
        ``"bulk"`` or ``"cells"``.
    ``obsm["response" | response_key]`` : DataFrame
        Responses of the lines; NaN for all cells.
    ``uns["harmonization"]`` : dict
        How the cells were brought onto the scale.

    Raises
    ------
    ValueError
        If a line and a cell have the same name, too few genes are measured, or values contradict `scale`.
    KeyError
        If the reference has no response, or a column or layer is missing.

    Examples
    --------
    >>> import scdrug
    >>> joined = scdrug.pp.join_domains(scdrug.datasets.toy(), scdrug.datasets.toy_cells())
    >>> joined.obs["domain"].value_counts().to_dict()
    {'cells': 200, 'bulk': 120}
    """
    from anndata import AnnData as _AnnData

    check_cells(reference)
    check_cells(cells)
    check_key(dict(reference.obsm), response_key, where="reference.obsm", hint="A reference holds lines × drugs there.")
    shared = reference.obs_names.intersection(cells.obs_names)
    if len(shared):
        raise ValueError(
            f"{len(shared)} names are of a line and of a cell, such as {examples(shared, 3)}. Rename the cells, for example "
            "`cells.obs_names = 'cell-' + cells.obs_names`."
        )
    lines = _dense(reference)
    profile = ReferenceProfile.fit(lines, reference.var_names)
    placed = place_cells(
        cells,
        profile,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groupby=groupby,
        fit_on=fit_on,
        lines=lines if anchor == "nearest" else None,
        min_coverage=min_coverage,
        chunk_size=chunk_size,
    )
    kept = np.arange(cells.n_obs)
    if n_cells is not None and n_cells < cells.n_obs:
        kept = np.sort(np.random.default_rng(seed).permutation(cells.n_obs)[:n_cells])
    # one array from the start: joining two would hold all cells twice
    expression = np.empty((len(lines) + len(kept), lines.shape[1]), dtype=np.float32)
    expression[: len(lines)] = lines
    placed.values(kept, out=expression[len(lines) :])

    joined = _AnnData(
        X=expression, obs=_join_obs(reference.obs, cells.obs.iloc[kept], domain_key), var=reference.var.copy()
    )
    joined.obsm[response_key] = reference.obsm[response_key].reindex(joined.obs_names)
    for key in reference.varm:
        joined.varm[key] = reference.varm[key].copy()
    joined.uns = {key: value for key, value in reference.copy().uns.items() if not key.startswith("_scvi")}
    joined.uns[KEYS.HARMONIZED] = placed.harmonization.summary()
    return joined


def _dense(reference: AnnData) -> np.ndarray:
    matrix = reference.X
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float32)


def _join_obs(lines: pd.DataFrame, cells: pd.DataFrame, domain_key: str) -> pd.DataFrame:
    """Columns of both; those that one side lacks are missing there, in types that files can hold."""
    parts = []
    for table in (lines, cells):
        part = table.copy()
        for column in part:
            if pd.api.types.is_bool_dtype(part[column]):
                part[column] = part[column].astype("boolean")
            elif isinstance(part[column].dtype, pd.CategoricalDtype):
                part[column] = part[column].astype(object)
        parts.append(part)
    joined = pd.concat(parts)
    names = np.repeat([BULK, CELLS], [len(lines), len(cells)])
    joined[domain_key] = pd.Categorical(names, categories=[BULK, CELLS])
    for column in joined.select_dtypes(object):
        joined[column] = pd.Categorical(joined[column].where(joined[column].isna(), joined[column].astype(str)))
    return joined
