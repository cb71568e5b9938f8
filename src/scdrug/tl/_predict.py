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
from .._labels import group_labels
from ..model._predictor import RowPredictor
from ..model._results import PredictedResponse, reserve_predictions
from ..pp._checks import check_cells
from ..pp._dividing import CellTotals
from ..pp._modalities import expression_part
from ..pp._place import Placed, place_cells
from ..pp._transform import least_entries
from ._cell_evidence import CellEvidence, appraise
from ._group_reliability import judge_groups, warn_of_refused
from ._stored import read_predictions
from ._width import Difficulty, relative_difficulty

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from ..model._base import DrugResponseModel
    from ..model.baseline._linear import LinearModel

logger = logging.getLogger(__name__)


@checked
def predict_response(
    adata: AnnData | MuData,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    drugs: str | Sequence[str] | Mapping[str, Any] | None = None,
    modality: str | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
    accelerator: str = "cpu",
    key_added: str = KEYS.PREDICTED,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Predict how each cell responds to each drug.

    Aligns genes by name, brings the cells onto the scale of the model's bulk reference (see
    :func:`scdrug.pp.harmonize`), and predicts block by block in constant memory. Dense, sparse, backed and dask
    objects give the same result, whatever the order of genes or cells.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms; symbols, Ensembl or Entrez ids of human genes. All cells of one
        experiment should be passed together, since they share one platform offset. Of a MuData, the modality with gene expression is
        read and written to.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    drugs
        Names or ids of drugs; all of the model if omitted. Models whose card says `unseen_drugs` also take
        SMILES, or a mapping of names to SMILES.
    modality
        Of a MuData: the modality with gene expression. If omitted, the only one with a name for it, such as ``"rna"`` or ``"gex"``.
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
    accelerator
        Where the product of expression and weights is computed: ``"cpu"``, or ``"gpu"``, ``"cuda"`` or ``"mps"`` by PyTorch; ``"auto"`` takes a
        GPU if PyTorch finds one. Cells are placed on the CPU; cells that lie on a GPU (cupy, as rapids-singlecell keeps them) are
        copied from it block by block.
    key_added
        Key of the predictions. With another than the default, the other results are stored under
        ``f"{key_added}_percentile"`` and ``f"{key_added}_reliability"``. Only what scdrug stored is replaced.
    copy
        Return a copy, in memory, instead of writing to `adata`. A view becomes an object of its own, in memory, when results
        are written to it; a backed file stays backed and is not changed.

    Returns
    -------
    `None`, or a copy of `adata`, with (in the modality of a MuData)

    ``adata.obsm["predicted_response" | key_added]`` : DataFrame
        Cells × drug ids, in the unit of the model's reference (lower ln IC50 = more sensitive); NaN for cells that
        show too few genes.
    ``adata.obsm["response_percentile"]`` : DataFrame
        Share of reference lines predicted to be less sensitive to the drug, 0-1: free of the drug's potency, so
        comparable between drugs. 1 = more sensitive than every line.
    ``adata.obs["response_reliability"]`` : float, 0-1
        How much of what a line measured in bulk would tell is left, see *Notes*.
    ``adata.obsm["response_evidence"]`` : DataFrame
        What reliability and width follow from, cell by cell: `resemblance` (reliability without the question whether cells
        divide), `sharpness` of the profile (0-1), `depth` (counts) and `dividing` (share of transcripts).
    ``adata.uns["predicted_response" | key_added]`` : dict
        Model, version, unit, direction, harmonization, drugs, interval half-width per drug, verdict; with `groupby`, `groups`, the
        table of :func:`scdrug.get.group_reliability_df`.

    Raises
    ------
    ValueError
        If the object is empty or a modality is ambiguous, genes are not human or too few, values are not finite, contradict `scale`, the model is
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
    Reliability says how much of what a line measured in bulk would tell is left: it falls by a factor *e* for each further squared error
    as large as the variance of predictions over lines. Error is added by flat profiles, as shallow cells have them (correlation
    with the reference's mean before any shift, relative to that of lines), by a cohort that lies far from the average line, and by what
    unmeasured genes hold of the predictions. Cells that are atypical of the reference lose the share of lines that are less so. All of it
    is multiplied by what the cohort shows of itself: whether its mean profile correlates with the reference's, whether genes that
    every cell expresses are high, whether its cells differ along the reference's directions more than noise would, and whether they
    divide, as the screened lines do; with `groupby`, each group is asked the last by itself.

    Reliability vanishes for data that do not resemble human expression, and for resting cells.
    Scaled values hold no profile to compare, so that for ``scale="scaled"`` flatness and most questions to the cohort are left
    out. Reliability does not know whether a drug's mechanism is visible in expression: see the model's card for that.

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
    whole, adata = expression_part(adata, modality, copy=copy)
    check_cells(adata)
    reserve_predictions(adata, key_added)
    trained = resolve_predictor(model)
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
    fitted, predictor = (
        placed.harmonization,
        RowPredictor(predictor_model, placed.harmonization, columns, accelerator=accelerator),
    )
    values, cells = _predict_blocks(placed, predictor, len(ids))
    difficulty = Difficulty.of(predictor_model, placed, predictor, columns)
    shift, missing = relative_difficulty(trained, placed)
    seen = appraise(cells, placed, trained.profile.similarity, shift=shift, missing=missing)
    informative, verdict = cells.informative, seen.verdict
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
        seen.reliability,
        gene_coverage=fitted.coverage,
        harmonization=fitted.summary(),
        n_uninformative=int((~informative).sum()),
        verdict=verdict,
        difficulty=difficulty.stated(shift, missing),
        evidence=seen.evidence,
        of_drugs=difficulty.of_drugs(),
        network_share=predictor_model._network_share(None, adata.n_obs, columns),
    )
    if key_added in adata.obsm:
        warnings.warn(f"Replacing the results that `adata.obsm[{key_added!r}]` held.", UserWarning, stacklevel=2)
    if verdict != "ok":
        warnings.warn(verdict, UserWarning, stacklevel=2)
    adata = results.store(adata, key_added, copy=copy and whole is None)
    if groupby is not None:
        _judge(adata, key_added, groupby, warn=verdict == "ok")
    return (adata if whole is None else whole) if copy else None


def _judge(adata: AnnData, key: str, groupby: str, *, warn: bool) -> None:
    """Store what is to be thought of each group, and say which are refused."""
    table = judge_groups(read_predictions(adata, key), group_labels(adata, groupby))
    adata.uns[key]["groups"] = table
    if warn:
        warn_of_refused(table, groupby, "Rankings leave them out, and plots grey them.", stacklevel=3)


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


def resolve_predictor(model: str | os.PathLike[str] | DrugResponseModel) -> DrugResponseModel | LinearModel:
    """What predicts: a trained model, or what a name or folder holds, which for a linear model loads neither torch nor scvi-tools."""
    if isinstance(model, str | os.PathLike):
        from ..model._pretrained import load_predictor

        return load_predictor(model)
    return resolve_model(model)


def _predict_blocks(placed: Placed, predictor: RowPredictor, n_drugs: int) -> tuple[np.ndarray, CellEvidence]:
    adata, totals = placed.adata, placed.harmonization.totals
    values = np.empty((adata.n_obs, n_drugs), dtype=np.float32)
    similarity, typicality, depth, dividing = np.full((4, adata.n_obs), np.nan)
    inputs = predictor.sample_inputs(adata)
    for rows, block, groups in placed.raw_blocks():
        values[rows], similarity[rows], typicality[rows] = predictor(
            block, groups, None if inputs is None else inputs[rows]
        )
        if totals is not None:
            depth[rows], dividing[rows] = totals(block)
    if not np.isfinite(values.sum(dtype=np.float64)):  # one sum instead of a mask as large as a quarter of the values
        raise RuntimeError(
            "The model predicted values that are not finite. Nothing was stored. Please report this with the model's "
            "name and, if possible, a few of the cells."
        )
    return values, CellEvidence(similarity, typicality, CellTotals(depth, dividing))
