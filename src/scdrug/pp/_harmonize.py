"""Bring single cells onto the scale of a bulk reference: the step that decides whether they can be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._constants import KEYS
from ._place import place_cells
from ._profile import ReferenceProfile
from ._rows import iter_row_blocks
from ._scale import detect_scale

if TYPE_CHECKING:
    from anndata import AnnData

#: Lines below which standard deviations of genes are noise.
_MIN_LINES = 3
#: Logarithms of expression stay below.
_LARGEST_LOG = 25.0


@checked
def harmonize(
    adata: AnnData,
    reference: AnnData | ReferenceProfile,
    *,
    method: str = "quantile",
    anchor: str = "similar",
    scale: str = "auto",
    layer: str | None = None,
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    n_lines: int = 30,
    n_pool: int = 1,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
) -> AnnData:
    """Bring cells onto the scale of a bulk reference.

    Single cells and bulk lines are measured on different platforms: models that were trained on lines read cells
    wrongly unless the gene-wise offset between the two is removed. Each cell is first transformed on its own
    (`method`), then every gene is shifted so that the cohort's mean lies where reference lines like it lie (`anchor`).
    The shift is common to all cells, so that differences between cells stay as they are.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms; symbols, Ensembl or Entrez ids.
    reference
        Bulk reference (see :func:`scdrug.pp.build_reference`), or the profile that a model keeps of its own.
    method
        ``"quantile"`` maps the ranks of each cell's genes to the mean sorted profile of the reference: the result is
        the same for counts and logarithms. ``"zscore"`` standardises the logarithms within each cell.
        ``"gene_zscore"`` also matches each gene's spread over the cells to its spread over the lines (the only choice
        for data that are centred already). ``"none"`` takes the values as they are.
    anchor
        ``"similar"``: the conditional mean of reference lines aligned with the cohort, see *Notes*. ``"nearest"``: the
        mean of the `n_lines` reference lines that correlate best with the cohort. ``"mean"``: the mean of all lines.
        ``"none"``: no shift.
    scale
        Scale of the input: ``"counts"``, ``"linear"`` (CPM, TPM), ``"log"``, ``"scaled"``, or ``"auto"`` to find out.
    layer
        Layer to read; `X` if omitted.
    groupby
        Column of `obs`. The shift is estimated within each group and averaged over groups, so that a large group of
        normal cells does not decide alone. Recommended when malignant and normal cells are mixed.
    shift_by_group
        Give each group its own shift instead. This also removes what is true of a whole group, so only use it for
        groups that were measured on different platforms.
    fit_on
        Boolean column of `obs`: the cells to estimate the shift from, for example the malignant ones.
    n_lines
        Lines averaged by ``anchor="nearest"``.
    n_pool
        Cells to pool, each with its nearest neighbours, before anything else; 1 for none. For counts or linear values.
    min_coverage
        Least share of the reference's genes that must be measured.
    chunk_size
        Rows a block; results do not depend on it.

    Returns
    -------
    New AnnData, cells × genes of the reference (float32, on the reference's scale), with the `obs` of `adata`.
    Genes that `adata` lacks are filled with their expected value given the measured ones, and marked in
    ``var["measured"]``.
    ``uns["harmonization"]`` keeps the fitted parameters.

    Raises
    ------
    ValueError
        If too few genes are measured, if values contradict `scale`, or are not finite.
    KeyError
        If a column or layer is missing.

    Notes
    -----
    The anchor ``"similar"`` is described in :meth:`scdrug.pp.ReferenceProfile.anchor`; on single cells of five assayed
    lines it did no worse than averaging named lines, and it needs no training data (see the page *Harmonization*).

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.harmonize(cells, reference).shape == (cells.n_obs, reference.n_vars)
    True
    """
    from anndata import AnnData as _AnnData

    from ._checks import check_cells

    check_cells(adata)
    profile, lines = as_profile(reference, with_lines=anchor == "nearest")
    placed = place_cells(
        adata,
        profile,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groupby=groupby,
        shift_by_group=shift_by_group,
        fit_on=fit_on,
        lines=lines,
        n_lines=n_lines,
        n_pool=n_pool,
        min_coverage=min_coverage,
        chunk_size=chunk_size,
    )
    fitted = placed.harmonization
    var = pd.DataFrame({"measured": ~fitted.unmeasured}, index=pd.Index(profile.genes.astype(str)))
    return _AnnData(X=placed.values(), obs=adata.obs.copy(), var=var, uns={KEYS.HARMONIZED: fitted.summary()})


def as_profile(
    reference: AnnData | ReferenceProfile, *, with_lines: bool = False
) -> tuple[ReferenceProfile, np.ndarray | None]:
    """Return the profile of a reference, and the expression of its lines when asked and possible."""
    if isinstance(reference, ReferenceProfile):
        return reference, None
    if reference.n_obs < _MIN_LINES:
        raise ValueError(
            f"A reference of {reference.n_obs} lines says nothing about how lines vary; at least {_MIN_LINES} are needed, "
            "and hundreds are usual."
        )
    blocks = [block for _, block in iter_row_blocks(reference)]  # refuses what is no finite number
    dense = sp.vstack(blocks).toarray()
    if (np.ptp(dense, axis=0) == 0).all():
        raise ValueError("All lines of the reference have the same expression. Expected lines × genes that differ.")
    if detect_scale(sp.csr_matrix(dense)) in ("counts", "linear") and dense.max() > _LARGEST_LOG:
        raise ValueError(
            f"The reference holds counts or other values before the logarithm (up to {dense.max():.4g}); cells would be "
            "placed by its few largest genes. Take logarithms first, for example np.log2(TPM + 1)."
        )
    return ReferenceProfile.fit(dense, reference.var_names), dense if with_lines else None
