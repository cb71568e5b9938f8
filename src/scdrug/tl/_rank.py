"""Rank drugs by how much more sensitive a group of cells is than a reference."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label, group_labels
from .._store import reserve, store
from .._validate import check_choice, examples, plain
from ..pp._evidence import shown_genes, warn_of_absent_groups
from ..pp._match_cells import match_cells
from ..pp._reference import MIN_LINES
from ..pp._rows import read_rows
from ._group_reliability import judge_groups
from ._group_response import summarise_groups
from ._rank_compare import NOTES, compare, ranked_table, warn_of_replicates
from ._rank_design import Design, read_design
from ._rank_stats import REST
from ._stored import USES, Predictions, check_use, is_drug_ranking, read_predictions

if TYPE_CHECKING:
    from anndata import AnnData


#: Cells of each group whose expression is looked at for genes that were not measured in it.
_ROWS_LOOKED_AT = 50
_SCORE = "difference of means (group minus reference), oriented so that positive = group is more sensitive"


@checked
def rank_drugs(
    adata: AnnData,
    groupby: str,
    *,
    groups: Label | Sequence[Label] = "all",
    reference: Label = "rest",
    sample_key: str | None = None,
    use: str = "percentile",
    key: str = KEYS.PREDICTED,
    method: str = "auto",
    min_cells: int = 10,
    min_lines: int = MIN_LINES,
    include_refused: bool = False,
    key_added: str = KEYS.RANKED,
    copy: bool = False,
) -> AnnData | None:
    """Rank drugs by how selectively each group of cells is predicted to respond to them.

    Each group is compared with all other cells or with a named group (e.g. the normal cells). Rank 1 is the drug
    whose mean differs most towards *more sensitive*; p-values and false discovery rates say how certain that is.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    groupby
        Column of `obs` with the groups, e.g. clusters, clones or cell types. Cells without label are left out.
    groups
        Groups to rank drugs for; ``"all"`` but the reference by default.
    reference
        ``"rest"`` for all other cells, or the name of a group.
    sample_key
        Column of `obs` with the donor of each cell. With it, donors are the replicates: every donor contributes one
        mean per group, and donors with both group and reference are paired. Without it, cells are tested, and the
        p-values are about these cells only.
    use
        ``"percentile"`` (comparable between drugs), or ``"response"`` in the unit of the reference (e.g. ln IC50).
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    method
        ``"t-test"`` (Welch, or paired), ``"wilcoxon"`` (rank sum, or signed rank), or ``"auto"``: Wilcoxon for cells,
        because percentiles have ties at 0 and 1, and t for samples, because few of them give no small rank p-values.
    min_cells
        Least number of cells of a group; with `sample_key`, of each donor's share of a group or reference.
    min_lines
        Least number of cell lines that a drug was trained on, where the model knows it; drugs with fewer are left out of the ranking
        and named in a warning. 1 keeps all.
    include_refused
        Rank drugs also for groups whose predictions are not to be believed, by :func:`scdrug.get.group_reliability_df`. They stay
        among the other cells that groups are compared with.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["rank_drugs" | key_added]["table"]`` : DataFrame
        One row per group and drug, best first within each group:

        - `group`, `rank`, `drug` (id), `name`;
        - `score`: what the drugs are ranked by, `effect` turned so that **positive = group is more sensitive**;
        - `direction`: ``"sensitive"`` if the group is more sensitive than the reference, ``"resistant"`` if less,
          ``"none"``;
        - `effect`: mean of the group minus mean of the reference, in the unit of `use` (negative ln IC50 difference
          = more sensitive; positive percentile difference = more sensitive);
        - `effect_size`: Cohen's d (of the differences if paired) or rank-biserial correlation, and `statistic` (t; z; over
          samples, U minus its expectation or W+ minus W-), both with the sign of `score`;
        - `p_value` (two-sided), `fdr` (Benjamini-Hochberg over the drugs of a group);
        - `percentile`, `percentile_reference`, `response`, `response_reference`: means of the two sides;
        - `half_width` of the interval of the group's response, see :func:`scdrug.get.group_response_df`;
        - `n_cells`, `n_cells_reference`, `n_samples`, `n_samples_reference` (0 without `sample_key`);
        - `reliability` of the group, see :func:`scdrug.get.group_reliability_df`; `test`: what was computed; `targets`, `pathway`;
        - `evidence` (``"strong"``, ``"some"``, ``"weak"``, ``"none"``, ``"unknown"``) and clinical `phase` of the drug, see
          :func:`scdrug.get.drug_evidence_df`; `outranks_better`: whether a drug of better evidence, with a `score` of at
          least nine tenths, is ranked below, so that the order may be owed to the weaker evidence.
    ``adata.uns["rank_drugs" | key_added]["reliability"]`` : DataFrame
        Reliability of all groups with the reason, see :func:`scdrug.get.group_reliability_df`.
    ``adata.uns["rank_drugs" | key_added]["params"]`` : dict
        Arguments, unit, direction, and what the p-values mean.

    Raises
    ------
    KeyError
        If there are no predictions, or a column or group does not exist; the nearest one is offered.
    ValueError
        If there is only one group, or too few cells, or no drug was trained on `min_lines` lines, or all groups are refused.

    Warns
    -----
    UserWarning
        If p-values are over cells or cannot be computed, groups, cells or drugs are left out, or the reference is refused.

    See Also
    --------
    scdrug.get.rank_drugs_df : the table, filtered.
    scdrug.pl.rank_drugs : the best drugs of each group as a figure.

    Notes
    -----
    With `sample_key`, a test is paired if at least 3 donors, and at least half of them all, have both sides; otherwise
    it compares the donors of the two sides. With fewer than 3 a side there is no p-value (NaN); cells are never used
    in their place. Clusters that were found in the same expression data differ by construction: their p-values order
    drugs, but are no tests of a hypothesis.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.rank_drugs(cells, groupby="clone", reference="normal", sample_key="sample")
    >>> best = scdrug.get.rank_drugs_df(cells, direction="sensitive").groupby("group", observed=True).head(1)
    >>> best["rank"].tolist()
    [1, 1, 1]
    """
    check_use(use)
    check_choice("method", method, ("auto", "t-test", "wilcoxon"))
    if min_cells < 2:
        raise ValueError(f"`min_cells` must be at least 2, or there is no variance; found {min_cells}.")
    reserve(adata, [("uns", key_added)], report=key_added, recognise=is_drug_ranking, function="scdrug.tl.rank_drugs")
    predictions, few_lines = _leave_out_few_lines(read_predictions(adata, key), min_lines)
    design = read_design(adata, groupby, groups, reference, sample_key)
    design = _leave_out_unpredicted(design, predictions).leave_out_small(min_cells)
    for column in dict.fromkeys([groupby] if sample_key is None else [groupby, sample_key]):
        _check_measured(adata, predictions, column)
    if predictions.verdict != "ok":
        warnings.warn(predictions.verdict, UserWarning, stacklevel=2)
    labels = group_labels(adata, groupby)
    judged = judge_groups(predictions, labels)
    design = _leave_out_refused(design, judged, include_refused)
    method = {"auto": "wilcoxon" if sample_key is None else "t-test"}.get(method, method)

    tables = {name: predictions.table(name) for name in USES}
    sides = compare(tables, design, tested=use, method=method, min_cells=min_cells, rerun="scdrug.tl.predict_response")
    table = ranked_table(
        sides, predictions, design, use, summarise_groups(predictions, labels, list(predictions.drugs.index))
    )
    warn_of_replicates(table, design)

    params = {
        "groupby": groupby,
        "groups": [design.names[one.group] for one in sides],
        "reference": design.reference_name,
        "sample_key": sample_key,
        "use": use,
        "unit": predictions.label(use),
        "more_sensitive_is": "higher" if predictions.sign(use) > 0 else "lower",
        "key": key,
        "method": method,
        "min_cells": int(min_cells),
        "min_lines": int(min_lines),
        "include_refused": include_refused,
        "left_out_few_lines": few_lines,
        "replicates": "cells" if sample_key is None else "samples",
        "score": _SCORE,
        "note": NOTES["cells" if sample_key is None else "samples"],
    }
    report = {"params": plain(params), "table": table, "reliability": judged}
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def _leave_out_unpredicted(design: Design, predictions: Predictions) -> Design:
    n = int((~predictions.predicted[design.rows]).sum())
    if n:
        warnings.warn(
            f"Left out {n} of {len(design.rows)} cells without prediction: they showed too few genes.",
            UserWarning,
            stacklevel=3,
        )
    return design.only(predictions.predicted)


def _check_measured(adata: AnnData, predictions: Predictions, column: str) -> None:
    """Warn if genes that the model reads were not measured in a group, where expression is still at hand to tell."""
    fitted = predictions.provenance.get("harmonization", {})
    layer = str(fitted.get("layer", "")) or None
    if "layer" not in fitted or fitted["input_scale"] == "scaled":
        return
    if (adata.X is None) if layer is None else (layer not in adata.layers):
        return
    labels = group_labels(adata, column)
    rows = np.unique(
        np.concatenate([_spread(np.flatnonzero(labels.codes == g)) for g in range(len(labels.categories))])
    )
    # what there is to say of names was said when the cells were predicted
    match = match_cells(adata, fitted["genes"], layer=layer, min_coverage=None, warn=False)
    used = (match.columns >= 0) & np.asarray(fitted["measured"], dtype=bool)
    if used.any() and len(rows):
        warn_of_absent_groups(
            pd.Series(np.asarray(labels)[rows], name=column),
            shown_genes(read_rows(adata, rows, layer=layer), match.columns[used]),
            np.asarray(fitted["target"])[used],
        )


def _spread(rows: np.ndarray) -> np.ndarray:
    """A few of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), _ROWS_LOOKED_AT).astype(int))] if len(rows) else rows


def _leave_out_few_lines(predictions: Predictions, min_lines: int) -> tuple[Predictions, list[str]]:
    """Drugs that were trained on enough lines, and the ids of the others; an unknown number is enough."""
    n_lines = pd.to_numeric(
        predictions.drugs.get("n_lines", pd.Series(np.nan, index=predictions.drugs.index)), errors="coerce"
    )
    few = (n_lines < min_lines).to_numpy(dtype=bool)
    if not few.any():
        return predictions, []
    named = [f"{drug} ({int(n)})" for drug, n in n_lines[few].items()]
    if few.all():
        raise ValueError(
            f"No drug was trained on {min_lines} lines: {examples(named)} at most. Such predictions say little; `min_lines=1` ranks them "
            "all the same."
        )
    warnings.warn(
        f"{int(few.sum())} drugs are left out of the ranking, because they were measured in fewer than {min_lines} lines: "
        f"{examples(named)}. `min_lines=1` keeps them.",
        UserWarning,
        stacklevel=3,
    )
    kept = dataclasses.replace(
        predictions,
        response=predictions.response[predictions.response.columns[~few]],
        percentile=predictions.percentile[predictions.percentile.columns[~few]],
        drugs=predictions.drugs.loc[~few],
        half_width=predictions.half_width[~few],
    )
    return kept, [str(drug) for drug in predictions.drugs.index[few]]


def _leave_out_refused(design: Design, judged: pd.DataFrame, include: bool) -> Design:
    """Groups whose predictions may be read, or all of them; what is not to be believed is said in either case."""
    refused = judged[judged["refused"]].set_index("group")["reason"]
    lacking = [code for code in design.groups if design.names[code] in refused.index]
    listed = [
        f"{design.names[code]} ({refused[design.names[code]].partition(': ')[2].rstrip('.')})" for code in lacking
    ]
    if design.reference != REST and design.reference_name in refused.index:
        warnings.warn(
            f"The predictions of the reference {design.reference_name!r} are not to be believed, and differences to it say little. "
            f"{refused[design.reference_name]}",
            UserWarning,
            stacklevel=3,
        )
    if not lacking:
        return design
    kept = [code for code in design.groups if code not in lacking]
    if include:
        warnings.warn(
            f"Predictions are not to be believed in {'; '.join(listed[:5])}: do not read the rankings of these groups.",
            UserWarning,
            stacklevel=3,
        )
        return design
    if not kept:
        raise ValueError(
            f"No group of `adata.obs[{design.groupby!r}]` can be ranked, since predictions are not to be believed: "
            f"{'; '.join(listed[:5])}. `include_refused=True` ranks them all the same."
        )
    warnings.warn(
        f"Left out {len(lacking)} groups, whose predictions are not to be believed: {'; '.join(listed[:5])}. "
        "`include_refused=True` ranks them all the same.",
        UserWarning,
        stacklevel=3,
    )
    return dataclasses.replace(design, groups=kept)
