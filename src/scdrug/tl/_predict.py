"""The main job: raw cells in, predicted responses with their reliability out."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import checked
from .._constants import KEYS
from ..model._results import PredictedResponse, reserve_predictions
from ..pp._checks import check_cells
from ..pp._harmonization import Harmonization
from ..pp._place import Placed, place_cells
from ..pp._transform import least_entries
from ._keys import MIN_RELIABILITY

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel
    from ..model._predictor import RowPredictor

logger = logging.getLogger(__name__)

#: Single cells of good depth correlate half as well with the reference as its own lines do.
_FULL_SIMILARITY = 0.5


@checked
def predict_response(
    adata: AnnData,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    drugs: str | Sequence[str] | Mapping[str, Any] | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
    key_added: str = KEYS.PREDICTED,
    copy: bool = False,
) -> AnnData | None:
    """Predict how each cell responds to each drug.

    Aligns genes by name, brings the cells onto the scale of the model's bulk reference (see
    :func:`scdrug.pp.harmonize`), and predicts block by block in constant memory. Dense, sparse, backed and dask
    objects give the same result, whatever the order of genes or cells.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms; symbols, Ensembl or Entrez ids of human genes. All cells of one
        experiment should be passed together, since they share one platform offset.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    drugs
        Names or ids of drugs; all of the model if omitted. Models whose card says `unseen_drugs` also take
        SMILES, or a mapping of names to SMILES.
    layer
        Layer to read; `X` if omitted.
    scale
        Scale of the input: ``"counts"``, ``"linear"`` (CPM, TPM), ``"log"``, ``"scaled"``, or ``"auto"`` to find out.
    method, anchor
        How cells are brought onto the reference's scale, see :func:`scdrug.pp.harmonize`.
    groupby
        Column of `obs` to estimate the platform's shift in, averaged over groups; recommended when malignant and normal
        cells are mixed.
    shift_by_group
        Give each group of `groupby` its own shift, for groups from different platforms.
    fit_on
        Boolean column of `obs`: the cells to estimate the shift from, for example the malignant ones.
    min_coverage
        Least share of the model's genes that must be measured.
    chunk_size
        Rows a block, `scdrug.settings.chunk_size` if omitted; results do not depend on it.
    key_added
        Key of the predictions. With another than the default, the other results are stored under
        ``f"{key_added}_percentile"`` and ``f"{key_added}_reliability"``. Only what scdrug stored is replaced.
    copy
        Return a copy, in memory, instead of writing to `adata`. A view becomes an object of its own, in memory, when results
        are written to it; a backed file stays backed and is not changed.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["predicted_response" | key_added]`` : DataFrame
        Cells × drug ids, in the unit of the model's reference (lower ln IC50 = more sensitive); NaN for cells that
        show too few genes.
    ``adata.obsm["response_percentile"]`` : DataFrame
        Share of reference lines predicted to be less sensitive to the drug, 0-1: free of the drug's potency, so
        comparable between drugs. 1 = more sensitive than every line.
    ``adata.obs["response_reliability"]`` : float, 0-1
        Gene coverage × similarity to the reference × typicality × resemblance of the cohort, see *Notes*.
    ``adata.uns["predicted_response" | key_added]`` : dict
        Model, version, unit, direction, harmonization, drugs, interval half-width per drug, verdict.

    Raises
    ------
    ValueError
        If the object is empty, genes are not human or too few, values are not finite, contradict `scale`, the model is
        unknown, or `key_added` is taken by something that scdrug did not store or cannot be written to a file.
    KeyError
        If a drug, layer or column is unknown; the nearest names are offered.

    Warns
    -----
    UserWarning
        If no drug can be ranked for these cells, or if existing results are replaced; if gene names had to be read
        otherwise than as they stand, or columns are left out that are not expression of human genes.

    Notes
    -----
    Reliability is a product of four shares: genes of the model that are measured; correlation of the cell's profile with
    the reference's mean before any shift, relative to half of what reference lines reach (deep single cells do); reference
    lines at least as far from the average line as the cell; and one number for the cohort, which asks whether its mean profile
    correlates with the reference's, whether its cells differ along the reference's directions more than noise would, and whether
    they divide, as the screened lines do; with `groupby`, each group is asked the last by itself.

    Reliability falls with sequencing depth and vanishes for data that do not resemble human expression, and for resting cells.
    Scaled values hold no profile to compare, so that for ``scale="scaled"`` similarity and the first and the last question to the
    cohort are left out. Reliability does not know whether a drug's mechanism is visible in expression: see the model's card for that.

    Genes that are zero in every cell count as not measured where a program rather than sequencing made them so. Cells that
    show fewer than a hundredth of the measured genes (50 at most) are not predicted: their values are NaN.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.toy_cells()
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> cells.obsm["predicted_response"].shape == (cells.n_obs, len(model.drugs))
    True
    """
    check_cells(adata)
    reserve_predictions(adata, key_added)
    trained = resolve_model(model)
    predictor_model, ids, columns = trained.select_drugs(drugs)
    placed = place_cells(
        adata,
        trained.profile,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groupby=groupby,
        shift_by_group=shift_by_group,
        fit_on=fit_on,
        min_coverage=min_coverage,
        chunk_size=chunk_size,
    )
    from ..model._predictor import RowPredictor  # loads torch

    fitted = placed.harmonization
    values, similarity, typicality = _predict_blocks(placed, RowPredictor(predictor_model, fitted, columns), len(ids))
    informative = np.isfinite(similarity)
    reliability = _reliability(fitted, similarity, typicality, trained.profile.similarity, placed.groups)
    resting = [] if fitted.evidence is None else fitted.evidence.resting_groups
    # where some groups divide, the others are refused by themselves
    judged = informative & (reliability > 0) if resting and (reliability > 0).any() else informative
    verdict = _verdict(reliability[judged], fitted)
    if not informative.all():
        # a value would pull along every mean that is taken over cells
        values[~informative] = np.nan
        warnings.warn(
            f"{int((~informative).sum()):,} of {len(informative):,} cells show fewer than "
            f"{least_entries(int((~fitted.unmeasured).sum()))} of the model's genes, as empty droplets do. They were left out "
            "of the fit and of the verdict; their predictions are missing (NaN) and their reliability is 0.",
            UserWarning,
            stacklevel=2,
        )

    results = PredictedResponse.of(
        predictor_model,
        ids,
        columns,
        values,
        reliability,
        gene_coverage=fitted.coverage,
        harmonization=fitted.summary(),
        n_uninformative=int((~informative).sum()),
        verdict=verdict,
        network_share=predictor_model._network_share(None, adata.n_obs, columns),
    )
    if key_added in adata.obsm:
        warnings.warn(f"Replacing the results that `adata.obsm[{key_added!r}]` held.", UserWarning, stacklevel=2)
    if verdict != "ok":
        warnings.warn(verdict, UserWarning, stacklevel=2)
    elif resting:
        warnings.warn(
            f"These groups of `adata.obs[{groupby!r}]` hardly divide, by the share of transcripts from genes of the cell cycle: "
            f"{', '.join(resting)}, where lines have 42 or more. The screen says nothing of resting cells, so that their "
            "reliability is 0: do not rank drugs for them.",
            UserWarning,
            stacklevel=2,
        )
    adata = results.store(adata, key_added, copy=copy)
    return adata if copy else None


def resolve_model(model: str | os.PathLike[str] | DrugResponseModel) -> DrugResponseModel:
    if isinstance(model, str | os.PathLike):
        from ..model._pretrained import load_pretrained

        return load_pretrained(model)
    if not hasattr(model, "select_drugs"):
        raise TypeError(
            f"`model` must be a name, a folder or a trained model of scdrug; found {type(model).__name__}. "
            "scdrug.model.list_models() shows the bundled ones."
        )
    if not model.is_trained:
        raise RuntimeError(f"{type(model).__name__} was not trained: call model.train() first.")
    return model


def _predict_blocks(placed: Placed, predictor: RowPredictor, n_drugs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    adata = placed.adata
    values = np.empty((adata.n_obs, n_drugs), dtype=np.float32)
    similarity, typicality = np.empty((2, adata.n_obs))
    inputs = predictor.sample_inputs(adata)
    for rows, block, groups in placed.raw_blocks():
        values[rows], similarity[rows], typicality[rows] = predictor(
            block, groups, None if inputs is None else inputs[rows]
        )
    if not np.isfinite(values.sum(dtype=np.float64)):  # one sum instead of a mask as large as a quarter of the values
        raise RuntimeError(
            "The model predicted values that are not finite. Nothing was stored. Please report this with the model's "
            "name and, if possible, a few of the cells."
        )
    return values, similarity, typicality


def _reliability(
    fitted: Harmonization,
    similarity: np.ndarray,
    typicality: np.ndarray,
    of_lines: float,
    groups: np.ndarray | None,
) -> np.ndarray:
    """Product of coverage, similarity relative to the reference's own lines, typicality, and the cohort's (cells, 0-1).

    Cells that show too few genes have none.
    """
    informative = np.isfinite(similarity)
    if fitted.scale == "scaled" and fitted.method != "none":
        relative = informative.astype(float)  # centred values hold no profile that could be compared
    else:
        relative = np.clip(np.where(informative, similarity, 0) / max(_FULL_SIMILARITY * of_lines, 1e-6), 0, 1)
    cohort = 1.0 if fitted.evidence is None else fitted.evidence.factor_of(groups)
    return (fitted.coverage * cohort * relative * np.clip(typicality, 0, 1)).astype(np.float32)


def _verdict(reliability: np.ndarray, fitted: Harmonization) -> str:
    median = float(np.median(reliability)) if len(reliability) else 0.0
    if median >= MIN_RELIABILITY:
        return "ok"
    weakness = None if fitted.evidence is None else fitted.evidence.weakness
    reason = (
        f"only {fitted.coverage:.0%} of the model's genes are measured"
        if fitted.coverage < 0.5
        else weakness or "the cells do not resemble the model's reference"
    )
    return f"No drug can be ranked for these cells: median reliability is {median:.2f}, since {reason}."
