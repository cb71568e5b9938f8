"""From lines to patients: predictions cohort by cohort, and one score per patient from single cells."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label, group_labels, select_groups
from .._store import STORED_IN, holds_table, reserve, store
from .._validate import check_choice, examples, plain
from ..model._results import PredictedResponse, prediction_places, reserve_predictions
from ._patient_scores import patient_scores
from ._predict import predict_response, resolve_model, resolve_predictor
from ._width import Difficulty

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import DrugResponseModel

#: Key of `uns` of the scores of patients from single cells.
PATIENT_RESPONSE = "patient_response"
#: Patients that a cohort needs for an estimate of its own.
_MIN_PATIENTS = 3


@checked
def predict_patients(
    adata: AnnData,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    cohort_key: str | None = None,
    sample_key: str | None = None,
    groupby: str | None = None,
    groups: Label | Sequence[Label] = "all",
    min_cells: int = 10,
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
        Tumours × genes, bulk expression; see :func:`scdrug.datasets.read_patients`. With `sample_key`, single cells × genes.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    cohort_key
        Column of `obs` with the cohort, such as the type of cancer; ``"cohort"`` if omitted. Single cells are one cohort if it is
        omitted.
    sample_key
        Column of `obs` with the patient of each cell, for single cells: each patient gets one score per drug.
    groupby
        Column of `obs` with the clones of single cells; all cells of a patient count as one clone if it is omitted.
    groups
        The malignant clones of `groupby`, all by default: name them where it holds normal cells, too.
    min_cells
        Cells of a patient that a clone needs.
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
    reliability, and ``adata.uns[key_added]``, which also holds the `cohorts` and how they were harmonized (`harmonize`). With `sample_key` also

    ``adata.uns["patient_response"]["table"]`` : DataFrame
        (``f"{key_added}_patients"`` with another key.) One row per patient and drug: `patient`, `drug` (id), `name`; `response` and
        `percentile`, means of the clones weighted by size; `response_worst` and `percentile_worst`, those of the clone that is least
        sensitive, `worst_clone`, and its share of the cells, `share_worst`; `n_clones`, `n_cells`, `reliability` (medians of the clones,
        weighted). Lower ln IC50, and higher percentile, are more sensitive.

    Raises
    ------
    KeyError
        If a column, group or drug is missing.
    ValueError
        If no clone of any patient has `min_cells` cells; for bulk expression,
        If a cohort has fewer than three patients, patients have no cohort, ``"combat"`` lacks the reference, or `key_added` is
        taken by something that scdrug did not store.

    Warns
    -----
    UserWarning
        If clones or patients are left out, or there are no clones to tell apart.

    See Also
    --------
    scdrug.get.predict_patients_df : scores of patients from single cells.

    Notes
    -----
    A tumour responds as its least sensitive clone does: the rule of PERCEPTION (Sinha et al. 2024). The mean over clones stands beside it, since
    the least of several uncertain numbers is too low, and the lower the more clones there are.

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

    Single cells of three patients:

    >>> cells = scdrug.datasets.toy_cells()
    >>> clones = ["clone-a", "clone-b", "clone-c"]
    >>> scdrug.tl.predict_patients(cells, model, sample_key="sample", groupby="clone", groups=clones)
    >>> table = scdrug.get.predict_patients_df(cells)
    >>> bool((table["percentile_worst"] <= table["percentile"]).all())
    True
    """
    check_choice("harmonize", harmonize, ("cohort", "combat"))
    reserve_predictions(adata, key_added)
    if sample_key is None and groupby is not None:
        raise ValueError(
            "`groupby` names the clones of patients from single cells: name the column of patients as `sample_key`, too."
        )
    tumours = None if sample_key is None else _read_tumours(adata, sample_key, groupby, groups, key_added)
    trained = resolve_model(model) if harmonize == "combat" else resolve_predictor(model)
    if cohort_key is None and sample_key is not None:
        labels = pd.Categorical.from_codes(np.zeros(adata.n_obs, dtype=int), categories=["all"])
    else:
        labels = group_labels(adata, cohort_key or "cohort", argument="cohort_key")
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
    if tumours is None:
        adata = results.store(adata, key_added, copy=copy)
        return adata if copy else None
    scores = patient_scores(
        results.table(adata.obs_names),
        pd.DataFrame(results.percentile, index=adata.obs_names, columns=pd.Index(results.ids)),
        results.reliability,
        results.provenance["drugs"],
        *tumours,
        min_cells=min_cells,
    )
    params = {
        "sample_key": sample_key,
        "groupby": groupby,
        "groups": list(tumours[1].categories),
        "min_cells": min_cells,
    }
    adata = results.store(adata, key_added, copy=copy)
    report = {"table": scores, "params": plain(params | {"key": key_added})}
    store(adata, {("uns", patients_key(key_added)): report}, report=patients_key(key_added))
    return adata if copy else None


def patients_key(key: str) -> str:
    """Return the key of `uns` of the scores of patients whose cells' predictions are stored under `key`."""
    return PATIENT_RESPONSE if key == KEYS.PREDICTED else f"{key}_patients"


def _read_tumours(
    adata: AnnData, sample_key: str, groupby: str | None, groups: Label | Sequence[Label], key_added: str
) -> tuple[pd.Categorical, pd.Categorical]:
    """Patient and malignant clone of each cell."""
    reserve(
        adata,
        [("uns", patients_key(key_added))],
        report=patients_key(key_added),
        recognise=holds_table("patient", "drug", "percentile_worst"),
        function="scdrug.tl.predict_patients",
    )
    donors = group_labels(adata, sample_key, argument="sample_key")
    if groupby is None:
        warnings.warn(
            "No clones are named (`groupby`), so all cells of a patient count as one: the worst clone is the mean.",
            UserWarning,
            stacklevel=3,
        )
        return donors, pd.Categorical.from_codes(np.zeros(adata.n_obs, dtype=int), categories=["all"])
    if groupby == sample_key:
        raise ValueError(f"`groupby` and `sample_key` are both {groupby!r}: a patient is not a clone of itself.")
    clones = group_labels(adata, groupby)
    chosen = None if isinstance(groups, str) and groups == "all" else groups
    wanted = select_groups(chosen, list(clones.categories), where=f"`adata.obs[{groupby!r}]`")
    if len(wanted) == 1:
        warnings.warn(f"There is one clone, {wanted[0]!r}: the worst clone is the mean.", UserWarning, stacklevel=3)
    return donors, clones.set_categories(wanted)


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
