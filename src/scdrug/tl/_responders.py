"""Whether patients who responded were predicted to be sensitive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._store import holds_table, reserve, store
from .._validate import check_key, examples, plain
from ..pp._drugs import resolve_drugs
from ._stored import read_response

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def compare_responders(
    adata: AnnData,
    *,
    response_key: str = "clinical_response",
    key: str = KEYS.PREDICTED,
    min_patients: int = 10,
    cohort_key: str | None = None,
    lower_is_sensitive: bool = True,
    key_added: str = "responders",
    copy: bool = False,
) -> AnnData | None:
    """Test drug by drug whether patients who responded were predicted to be more sensitive.

    Parameters
    ----------
    adata
        Patients with predictions of :func:`predict_patients`.
    response_key
        Key of `obsm`: DataFrame of patients × drugs, 1 for a response, 0 for none, NaN where not treated.
    key
        Where the predictions are.
    min_patients
        A drug is tested if it has more than this many responders, and non-responders.
    cohort_key
        Column of `obs`: also subtract the mean prediction of each cohort, since types of cancer differ in response rate.
    lower_is_sensitive
        Direction of the predictions.
    key_added
        Key of `uns`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with ``adata.uns["responders" | key_added]``: ``table`` by drug id with `name`, `n_responders`,
    `n_others`, `difference` (mean prediction of responders − others), `auroc` (above 0.5: responders predicted more sensitive),
    `p_value` (Welch, one-sided) and `fdr` (Benjamini and Hochberg), smallest p first; ``params``.

    Raises
    ------
    KeyError
        If predictions or responses are not there.
    ValueError
        If no drug has enough patients.

    Notes
    -----
    Bang et al. 2024, section 4.5: drugs with more than ten responders and ten others, one-sided t test; without correction for
    the number of drugs there.

    Examples
    --------
    >>> import numpy as np, pandas as pd, scdrug
    >>> patients, reference = scdrug.datasets.toy_cells(n_cells=60), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_patients(patients, model, cohort_key="sample")
    >>> truth = patients.obsm["true_response"][["trametinib"]]
    >>> patients.obsm["clinical_response"] = (truth < truth.median()).astype(float)
    >>> scdrug.tl.compare_responders(patients)
    >>> bool(patients.uns["responders"]["table"].loc["trametinib", "auroc"] > 0.7)
    True
    """
    if min_patients < 1:
        raise ValueError(f"`min_patients` must be at least 1; found {min_patients}.")
    reserve(
        adata,
        [("uns", key_added)],
        report=key_added,
        recognise=holds_table("n_responders", "n_others", "auroc"),
        function="scdrug.tl.compare_responders",
    )
    predicted, stored = read_response(adata, key, hint="Run scdrug.tl.predict_patients(adata, …) first.")
    check_key(dict(adata.obsm), response_key, where="adata.obsm", hint="scdrug.datasets.read_patients makes it.")
    response = adata.obsm[response_key]
    if not isinstance(response, pd.DataFrame):
        raise TypeError(
            f"`adata.obsm[{response_key!r}]` must be a DataFrame of patients × drugs; found {type(response).__name__}."
        )
    pairs = _match_drugs(predicted, stored.get("drugs"), adata.uns.get("clinical_drugs"), response)
    sign = -1.0 if lower_is_sensitive else 1.0
    cohorts = None if cohort_key is None else np.asarray(group_labels(adata, cohort_key).codes)
    rows = {}
    for theirs, ours in pairs.items():
        outcome = response[theirs].to_numpy(dtype=float)
        values = predicted[ours].to_numpy(dtype=float)
        if cohorts is not None:
            values = values - pd.Series(values).groupby(cohorts).transform("mean").to_numpy()
        yes, no = values[outcome == 1], values[outcome == 0]
        if min(len(yes), len(no)) <= min_patients:
            continue
        test = stats.ttest_ind(sign * yes, sign * no, equal_var=False, alternative="greater")
        rank = stats.mannwhitneyu(sign * yes, sign * no).statistic / (len(yes) * len(no))
        rows[ours] = (str(theirs), len(yes), len(no), yes.mean() - no.mean(), float(rank), float(test.pvalue))
    if not rows:
        raise ValueError(
            f"No drug of `adata.obsm[{response_key!r}]` ({examples(response.columns)}) is predicted and has more than "
            f"{min_patients} responders and others. Lower `min_patients`, or use a model of these drugs."
        )
    columns = ["name", "n_responders", "n_others", "difference", "auroc", "p_value"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).sort_values("p_value", kind="stable")
    table["fdr"] = stats.false_discovery_control(table["p_value"])
    report = {"table": table, "params": plain({"min_patients": min_patients, "cohort_key": cohort_key})}
    # version 0.1 stored the table itself, and what was asked for beside it
    beside = ("uns", f"{key_added}_params") if isinstance(adata.uns.get(key_added), pd.DataFrame) else None
    adata = store(adata, {("uns", key_added): report}, report=key_added, drop=[beside] if beside else [], copy=copy)
    return adata if copy else None


def _match_drugs(predicted: pd.DataFrame, drugs: Any, names: Any, response: pd.DataFrame) -> dict[str, str]:
    """Predicted drug for each drug that patients had."""
    names = names if isinstance(names, pd.DataFrame) and "name" in names else None
    pairs = {}
    for theirs in response.columns:
        asked = str(names.loc[theirs, "name"]) if names is not None and theirs in names.index else str(theirs)
        if theirs in predicted.columns:
            pairs[str(theirs)] = str(theirs)
        elif isinstance(drugs, pd.DataFrame):
            try:
                pairs[str(theirs)] = resolve_drugs([asked], drugs)[0]
            except KeyError:
                continue
    return pairs
