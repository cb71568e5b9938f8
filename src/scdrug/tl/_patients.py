"""From lines to patients: predictions cohort by cohort, and a test whether responders are predicted to be sensitive."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._store import STORED_IN, holds_table, reserve, store
from .._validate import check_choice, check_key, examples, plain
from ..model._results import PredictedResponse, prediction_places, reserve_predictions
from ..pp._drugs import resolve_drugs
from ._predict import predict_response, resolve_model
from ._stored import read_response
from ._width import Difficulty

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import DrugResponseModel

#: Patients that a cohort needs for an estimate of its own.
_MIN_PATIENTS = 3


@checked
def predict_patients(
    adata: AnnData,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    cohort_key: str = "cohort",
    harmonize: str = "cohort",
    reference: AnnData | None = None,
    drugs: str | Sequence[str] | Mapping[str, Any] | None = None,
    layer: str | None = None,
    scale: str = "auto",
    min_coverage: float = 0.3,
    key_added: str = KEYS.PREDICTED,
    copy: bool = False,
) -> AnnData | None:
    """Predict responses of patients, with each cohort brought onto the reference's scale by itself.

    Parameters
    ----------
    adata
        Tumours × genes, bulk expression; see :func:`scdrug.datasets.read_patients`.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    cohort_key
        Column of `obs` with the cohort, such as the type of cancer.
    harmonize
        ``"cohort"``: each cohort by :func:`scdrug.pp.harmonize`, which never changes the reference nor looks at another cohort.
        ``"combat"``: joint ComBat of the reference and each cohort, as Bang et al. 2024 do, after which reference and cohort
        have the same mean and variance of each gene; needs `reference`. Both see the unlabelled patients of the cohort.
    reference
        The model's training reference, for ``"combat"``.
    drugs
        Names or ids of drugs, SMILES, or a mapping; all of the model if omitted.
    layer
        Layer to read; `X` if omitted.
    scale
        Scale of the input, see :func:`scdrug.tl.predict_response`.
    min_coverage
        Least share of the model's genes that must be measured.
    key_added
        Key of the predictions.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with what :func:`scdrug.tl.predict_response` stores: ``adata.obsm["predicted_response" |
    key_added]``, patients × drugs in the unit of the model's reference (lower ln IC50 = more sensitive), percentiles,
    reliability, and ``adata.uns[key_added]``, which also holds the `cohorts` and how they were harmonized (`harmonize`).

    Raises
    ------
    KeyError
        If a column or drug is missing.
    ValueError
        If a cohort has fewer than three patients, patients have no cohort, ``"combat"`` lacks the reference, or `key_added` is
        taken by something that scdrug did not store.

    Examples
    --------
    >>> import scdrug
    >>> patients, reference = scdrug.datasets.toy_cells(n_cells=60), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_patients(patients, model, cohort_key="sample")
    >>> patients.obsm["predicted_response"].shape
    (60, 12)
    """
    check_choice("harmonize", harmonize, ("cohort", "combat"))
    reserve_predictions(adata, key_added)
    trained = resolve_model(model)
    labels = group_labels(adata, cohort_key, argument="cohort_key")
    codes = np.asarray(labels.codes)
    _check_cohorts(codes, list(labels.categories))
    if harmonize == "combat" and reference is None:
        raise ValueError("ComBat needs the lines: pass the model's training data as `reference`.")
    # anndata makes no view of a view of a file
    source = adata.to_memory() if adata.isbacked and adata.is_view else adata
    parts = []
    for cohort in range(len(labels.categories)):
        part = _own_results_only(source[codes == cohort])
        if harmonize == "combat":
            part = _combat(part, reference, trained, layer, scale)
            trained.predict(part, drugs=drugs, min_coverage=min_coverage)
        else:
            predict_response(part, trained, drugs=drugs, layer=layer, scale=scale, min_coverage=min_coverage)
        parts.append(part)
    results = _join(parts, [np.flatnonzero(codes == cohort) for cohort in range(len(parts))], list(labels.categories))
    results.provenance["harmonize"] = harmonize
    adata = results.store(adata, key_added, copy=copy)
    return adata if copy else None


def _own_results_only(part: AnnData) -> AnnData:
    """A cohort without what its predictions would replace."""
    part = part.to_memory() if part.isbacked else part.copy()
    for slot, key in prediction_places(KEYS.PREDICTED):
        if key in getattr(part, slot).keys():
            del getattr(part, slot)[key]
    return part


def _join(parts: list[AnnData], rows: list[np.ndarray], cohorts: list[str]) -> PredictedResponse:
    """Predictions of all patients in their order, with the least coverage of the cohorts; ok if any cohort is."""
    order = np.argsort(np.concatenate(rows))
    first = parts[0].uns[KEYS.PREDICTED]
    verdicts = {name: part.uns[KEYS.PREDICTED]["verdict"] for name, part in zip(cohorts, parts, strict=True)}
    bad = [f"{name}: {text}" for name, text in verdicts.items() if text != "ok"]
    own = ("harmonization", "gene_coverage", "verdict", "difficulty", "drugs", STORED_IN)
    known = all(KEYS.EVIDENCE in part.obsm for part in parts)
    evidence = pd.concat([part.obsm[KEYS.EVIDENCE] for part in parts]).iloc[order] if known else pd.DataFrame()
    return PredictedResponse(
        ids=list(parts[0].obsm[KEYS.PREDICTED].columns),
        response=np.vstack([part.obsm[KEYS.PREDICTED].to_numpy() for part in parts])[order],
        percentile=np.vstack([part.obsm[KEYS.PERCENTILE].to_numpy() for part in parts])[order],
        reliability=np.concatenate([part.obs[KEYS.RELIABILITY].to_numpy() for part in parts])[order],
        provenance={name: value for name, value in first.items() if name not in own}
        | {
            # what makes one cohort difficult says nothing of the others
            "drugs": first["drugs"].drop(columns=list(Difficulty.COLUMNS), errors="ignore"),
            "gene_coverage": min(part.uns[KEYS.PREDICTED]["gene_coverage"] for part in parts),
            "cohorts": [str(name) for name in cohorts],
            "verdict": " ".join(bad) if len(bad) == len(parts) else "ok",
            "verdicts": plain(verdicts),
        },
        evidence={name: evidence[name].to_numpy() for name in evidence},
    )


def _check_cohorts(codes: np.ndarray, names: list[str]) -> None:
    if (codes < 0).any():
        raise ValueError(f"{int((codes < 0).sum())} patients have no cohort. Give them one, or leave them out.")
    counts = np.bincount(codes, minlength=len(names))
    small = [str(name) for name, count in zip(names, counts) if count < _MIN_PATIENTS]
    if small:
        raise ValueError(
            f"Cohorts of fewer than {_MIN_PATIENTS} patients cannot be harmonized: {examples(small)}. Join them with others."
        )


def _combat(part: AnnData, reference: AnnData, model: DrugResponseModel, layer: str | None, scale: str) -> AnnData:
    """A cohort after joint ComBat with the reference (Johnson, Li and Rabinovic 2007), placed back on the reference's scale."""
    import anndata
    import scanpy as sc

    from ..model._data import dense_expression
    from ..pp._genes import match_genes
    from ..pp._match_cells import match_cells

    columns = match_cells(part, model.genes, layer=layer, min_coverage=None).columns
    lines = match_genes(reference.var_names, model.genes).columns
    shared = (columns >= 0) & (lines >= 0)
    if not shared.any():
        raise ValueError("The cohort and `reference` share no gene of the model.")
    ours = dense_expression(reference, None)[:, lines[shared]].astype(np.float64)
    theirs = dense_expression(part, layer)[:, columns[shared]].astype(np.float64)
    if scale in ("counts", "linear"):
        theirs = np.log2(theirs + 1)
    both = np.vstack([ours, theirs])
    batch = ["lines"] * len(ours) + ["patients"] * len(theirs)
    joint = anndata.AnnData(
        both, obs=pd.DataFrame({"batch": pd.Categorical(batch)}, index=[str(i) for i in range(len(both))])
    )
    sd = np.array([ours.std(axis=0), theirs.std(axis=0)])
    varies = (sd > 1e-8).all(axis=0)  # ComBat divides by the deviation in each batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corrected = sc.pp.combat(joint[:, varies].copy(), key="batch", inplace=False)
    # ComBat moves the lines too; the same map takes them, and with them the cohort, back to where the model was trained
    moved, target = np.asarray(corrected)[: len(ours)], ours[:, varies]
    slope = target.std(axis=0) / np.maximum(moved.std(axis=0), 1e-12)
    placed = (np.asarray(corrected)[len(ours) :] - moved.mean(axis=0)) * slope + target.mean(axis=0)
    names = np.asarray(model.genes)[shared][varies]
    return anndata.AnnData(
        placed.astype(np.float32), obs=pd.DataFrame(index=part.obs_names), var=pd.DataFrame(index=names)
    )


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
