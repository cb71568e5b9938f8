"""Rank pathways by how differently they contribute to the prediction of a group of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label
from .._store import reserve, store
from .._validate import check_choice, plain
from ._attribution import least_stability, squared_error, stability
from ._attribution_stored import Stored, is_pathway_ranking, read_attribution
from ._rank_compare import NOTES, Sides, compare, warn_of_replicates
from ._rank_design import Design, read_design
from ._rank_stats import REST

if TYPE_CHECKING:
    from anndata import AnnData

_SCORE = "difference of mean contributions (group minus reference); positive = makes the group more sensitive"


@checked
def rank_pathways(
    adata: AnnData,
    groupby: str,
    drug: str | None = None,
    *,
    groups: Label | Sequence[Label] = "all",
    reference: Label = "rest",
    sample_key: str | None = None,
    method: str = "auto",
    min_cells: int = 10,
    key: str = KEYS.PATHWAY_IG,
    key_added: str = KEYS.RANKED_PATHWAYS,
    copy: bool = False,
) -> AnnData | None:
    r"""Rank pathways by how much more they contribute to one group's predicted response than to another's.

    Mean contributions of two groups differ by what makes the one more sensitive or more resistant than the other, as the
    model sees it: over all pathways the differences add up to the difference of the predictions.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`, or of :func:`scdrug.tl.attribute_genes`.
    groupby
        Column of `obs` with the groups, e.g. clusters, clones or cell types. Cells without label are left out.
    drug
        Name or id of the drug; may be omitted if there is only one.
    groups
        Groups to rank pathways for; ``"all"`` but the reference by default.
    reference
        ``"rest"`` for all other cells, or the name of a group.
    sample_key
        Column of `obs` with the donor of each cell, which makes donors the replicates, see
        :func:`scdrug.tl.rank_drugs`.
    method
        ``"t-test"``, ``"wilcoxon"``, or ``"auto"``, see :func:`scdrug.tl.rank_drugs`.
    min_cells
        Least number of cells of a group; with `sample_key`, of each donor's share of a group or reference.
    key
        Where the contributions are stored.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["rank_pathways" | key_added]["table"]`` : DataFrame
        One row per group and pathway (or gene), within each group by size of the difference times its stability: `group`, `rank`, `pathway`,
        `kind`; `score`, the mean contribution in the group minus that in the reference, **positive = makes the group more
        sensitive than the reference**; `supports` (``"sensitive"`` or ``"resistant"``, its sign in words); `mean` and
        `mean_reference`; `effect_size`, `statistic`, `p_value`, `fdr`, `test`, `n_cells`, `n_cells_reference`, `n_samples`,
        `n_samples_reference` as in :func:`scdrug.tl.rank_drugs`; `own_r2`, `identified`; and, if contributions of several
        models were kept, `score_sd` over models, `sign_agreement`, the share of models in which the difference has this
        sign, `stability`, the share of the difference that would come back with other trainings (0-1), and `repeats`, whether
        the difference is beyond zero by Student's t over models (5 %), which asks for a stability of 0.95 with three models and of 0.80
        with ten.
    ``adata.uns["rank_pathways" | key_added]["params"]`` : dict
        Arguments, unit, drug, and what the p-values mean.

    Raises
    ------
    KeyError
        If nothing was attributed, or a drug, column or group does not exist; the nearest one is offered.
    ValueError
        If there is only one group, or too few cells.

    Warns
    -----
    UserWarning
        If p-values are over cells or cannot be computed, or groups or cells are left out.

    Notes
    -----
    The test compares cells (or donors) at one trained model or a mean over several. It knows nothing of how another
    training would come out: `stability` does. With :math:`d_m` the difference in model :math:`m` of :math:`M`, it is
    :math:`1 - \mathrm{var}(d) / (M \bar d^2)`, and 0 if that is negative: what remains of a mean that is shrunk by its error
    (James and Stein 1961). Models of lines drawn again (`resampled`) have no :math:`M` there.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, cells=cells)
    >>> model.train(max_epochs=3)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> scdrug.tl.rank_pathways(cells, "clone", reference="normal", sample_key="sample")
    >>> scdrug.get.rank_pathways_df(cells, "clone-a")["rank"].tolist()[:3]
    [1, 2, 3]
    """
    check_choice("method", method, ("auto", "t-test", "wilcoxon"))
    if min_cells < 2:
        raise ValueError(f"`min_cells` must be at least 2, or there is no variance; found {min_cells}.")
    reserve(
        adata, [("uns", key_added)], report=key_added, recognise=is_pathway_ranking, function="scdrug.tl.rank_pathways"
    )
    stored = read_attribution(adata, key, drug)
    design = read_design(adata, groupby, groups, reference, sample_key).leave_out_small(min_cells)
    method = {"auto": "wilcoxon" if sample_key is None else "t-test"}.get(method, method)

    sides = compare(
        {stored.what: stored.cells}, design, tested=stored.what, method=method, min_cells=min_cells,
        rerun=f"scdrug.tl.attribute_{stored.what}s",
    )  # fmt: skip
    table = _table(stored, design, sides)
    warn_of_replicates(table, design)
    params = {
        "groupby": groupby,
        "groups": [design.names[one.group] for one in sides],
        "reference": design.reference_name,
        "sample_key": sample_key,
        "drug": stored.drug,
        "name": stored.name,
        "attributed_to": stored.what,
        "unit": stored.unit,
        "key": key,
        "method": method,
        "min_cells": int(min_cells),
        "replicates": "cells" if sample_key is None else "samples",
        "score": _SCORE,
        "note": NOTES["cells" if sample_key is None else "samples"],
    }
    report = {"params": plain(params), "table": table}
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def _by_model(models: np.ndarray, design: Design, group: int) -> np.ndarray:
    """Difference between cells of a group and of its reference by model (features × models)."""
    mine = design.codes == group
    other = ~mine if design.reference == REST else design.codes == design.reference
    rows = design.rows
    return models[rows[mine]].mean(axis=0, dtype=np.float64) - models[rows[other]].mean(axis=0, dtype=np.float64)


def _table(stored: Stored, design: Design, sides: Sequence[Sides]) -> pd.DataFrame:
    features = list(stored.cells.columns)
    known = stored.table.set_index(stored.what).loc[features]
    kept = [column for column in ("kind", "own_r2", "identified", "measured") if column in known]
    parts = []
    for one in sides:
        mean, other = one.means[stored.what]
        score = mean - other + 0.0  # no negative zero
        part = pd.DataFrame(
            {
                "group": design.names[one.group],
                "rank": 0,
                stored.what: features,
                "score": score,
                "supports": np.where(score >= 0, "sensitive", "resistant"),
                "mean": mean,
                "mean_reference": other,
                **one.tested(),
                **one.sizes(),
                "test": one.comparison.test,
            }
        )
        for column in kept:
            part[column] = known[column].to_numpy()
        if stored.models is not None:
            by_model = _by_model(stored.models, design, one.group)
            part["score_sd"] = by_model.std(axis=1, ddof=1)
            part["sign_agreement"] = (np.sign(by_model) == np.sign(score)[:, None]).mean(axis=1)
            part["stability"] = stability(score**2, squared_error(by_model, resampled=stored.resampled))
            part["repeats"] = part["stability"] >= least_stability(by_model.shape[1])
        size = np.abs(score) * (part["stability"].to_numpy() if "stability" in part else 1.0)
        order = np.lexsort((np.arange(len(part)), -np.abs(score), -size))
        parts.append(part.iloc[order].assign(rank=np.arange(1, len(part) + 1)))
    table = pd.concat(parts, ignore_index=True)
    table["group"] = pd.Categorical(table["group"], categories=[design.names[one.group] for one in sides])
    return table
