"""Counts of single cells, drawn from bulk profiles: a task with as many lines as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..._arguments import checked
from ..._validate import check_key, examples
from .._identity import line_groups

if TYPE_CHECKING:
    from anndata import AnnData

#: Standard deviation of a bulk profile in log2 units, about that of RMA-normalised arrays.
_SPREAD = 2.3
#: Quantile of a profile below which a gene is background and gives no counts.
_BACKGROUND = 0.2


@checked
def simulate_cells(
    reference: AnnData,
    *,
    n_lines: int = 40,
    n_cells: int = 25,
    tissue: str | None = None,
    tissue_key: str = "tissue",
    exclude: Sequence[str] = (),
    depth: float = 10_000.0,
    platform_sd: float = 1.0,
    dispersion: float = 0.3,
    seed: int = 0,
) -> AnnData:
    r"""Draw counts of single cells from the bulk profiles of some lines of a reference.

    Real cells with known responses come from a handful of lines, too few to choose between models. Simulated ones come
    from as many as there are, so that choices can be made on them, and real cells be kept for the test. They lack what
    nobody can simulate: that cells of a dish differ in state. Read a figure on them as an upper bound.

    Parameters
    ----------
    reference
        Bulk reference, lines × genes, on any logarithmic scale.
    n_lines
        Lines to draw at random; those of one tissue, so that telling tissues apart earns nothing.
    n_cells
        Cells per line.
    tissue
        Tissue of the lines; the one with most lines if omitted.
    tissue_key
        Column of `reference.obs` with tissues.
    exclude
        Names of lines that must not be drawn, such as those of a test set.
    depth
        Mean counts per cell.
    platform_sd
        Standard deviation of the natural logarithm of a factor that each gene has in all cells: how much more or less
        efficiently sequencing sees it than the platform of the reference.
    dispersion
        Of the counts: variance = mean + dispersion · mean².
    seed
        Seed of all of it.

    Returns
    -------
    Cells × genes, integer counts (sparse, float32), with the column `cell_line` in `obs`. Pass it to
    :func:`score_lines`, which takes the lines out of training.

    Raises
    ------
    KeyError
        If there is no column of tissues.
    ValueError
        If there are too few lines, or a number is out of range.

    Notes
    -----
    With :math:`z` a profile in standard deviations from its own mean, abundance is
    :math:`p_g \propto e_g \max(2^{2.3 z_g} - b, 0)`, where :math:`b` is the same for the background quantile 0.2 and
    :math:`\log e_g \sim N(0, \text{platform\_sd}^2)`. Counts are Poisson with a mean of :math:`d\,p_g\,u_g`, where
    :math:`u_g` is a gamma variable with mean one and variance `dispersion`, and depths :math:`d` are log-normal with a
    standard deviation of 0.3.

    Examples
    --------
    >>> import scdrug
    >>> from scdrug.benchmark import simulate_cells
    >>> cells = simulate_cells(scdrug.datasets.toy(), n_lines=5, n_cells=3)
    >>> cells.obs["cell_line"].value_counts().tolist()
    [3, 3, 3, 3, 3]
    """
    from anndata import AnnData as New

    _check_numbers(n_lines=n_lines, n_cells=n_cells, depth=depth, platform_sd=platform_sd, dispersion=dispersion)
    rng = np.random.default_rng(seed)
    rows = _draw_lines(reference, n_lines, tissue, tissue_key, exclude, rng)
    profiles = reference[rows].X
    profiles = np.asarray(profiles.toarray() if sp.issparse(profiles) else profiles, dtype=np.float64)
    abundance = _abundance(profiles) * np.exp(rng.normal(0.0, platform_sd, profiles.shape[1]))
    abundance /= abundance.sum(axis=1, keepdims=True)
    counts = sp.vstack(
        [_draw_counts(share, n_cells, depth, dispersion, rng) for share in abundance], format="csr", dtype=np.float32
    )
    names = reference.obs_names[rows].astype(str)
    line = np.repeat(names, n_cells)
    obs = pd.DataFrame({"cell_line": pd.Categorical(line)}, index=[f"cell-{i}" for i in range(len(line))])
    return New(counts, obs=obs, var=pd.DataFrame(index=reference.var_names.copy()))


def _check_numbers(*, n_lines: int, n_cells: int, depth: float, platform_sd: float, dispersion: float) -> None:
    for name, value, least in (("n_lines", n_lines, 2), ("n_cells", n_cells, 1)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}; found {value}.")
    if not depth > 0 or platform_sd < 0 or dispersion < 0:
        raise ValueError(
            "`depth` must be positive, and `platform_sd` and `dispersion` not negative; found "
            f"depth={depth}, platform_sd={platform_sd}, dispersion={dispersion}."
        )


def _draw_lines(
    reference: AnnData,
    n_lines: int,
    tissue: str | None,
    tissue_key: str,
    exclude: Sequence[str],
    rng: np.random.Generator,
) -> np.ndarray:
    """Positions of the lines, one profile each."""
    from ._lines import find_lines

    check_key(reference.obs, tissue_key, where="reference.obs", hint="Name the column with tissues in `tissue_key`.")
    tissues = reference.obs[tissue_key].astype(str).to_numpy(dtype=object)
    free = np.ones(reference.n_obs, dtype=bool)
    if len(exclude):
        free = ~find_lines(reference, [], exclude=exclude).held_out
    known = free & reference.obs[tissue_key].notna().to_numpy()
    _, first = np.unique(line_groups(reference), return_index=True)
    once = np.zeros(reference.n_obs, dtype=bool)
    once[first] = True
    known &= once
    counts = pd.Series(tissues[known]).value_counts()
    if tissue is None:
        tissue = str(counts.index[0]) if len(counts) else ""
    available = np.flatnonzero(known & (tissues == tissue))
    if len(available) < n_lines:
        raise ValueError(
            f"{len(available)} lines of tissue {tissue!r} can be drawn, and `n_lines` is {n_lines}. Ask for fewer lines; "
            f"most lines are of {examples(counts.index, 3)}."
        )
    return np.sort(rng.choice(available, n_lines, replace=False))


def _abundance(profiles: np.ndarray) -> np.ndarray:
    """Relative abundance of genes in each profile, background taken off (lines × genes)."""
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    linear = np.exp2(_SPREAD * centred / np.where(spread > 0, spread, 1.0))
    return np.clip(linear - np.quantile(linear, _BACKGROUND, axis=1, keepdims=True), 0.0, None)


def _draw_counts(
    share: np.ndarray, n_cells: int, depth: float, dispersion: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """Counts of cells with one expected profile (cells × genes)."""
    mean = share * depth * rng.lognormal(-0.045, 0.3, size=(n_cells, 1))
    if dispersion:
        mean = mean * rng.gamma(1.0 / dispersion, dispersion, size=mean.shape)
    return sp.csr_matrix(rng.poisson(mean).astype(np.float32))
