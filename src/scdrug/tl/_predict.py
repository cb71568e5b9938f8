"""The main job: raw cells in, predicted responses with their reliability out."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._validate import check_choice, warn_caller
from ..model._predictor import RowPredictor
from ..model._results import PredictedResponse, reserve_predictions, store_predictions
from ..pp._checks import check_cells
from ..pp._modalities import expression_part
from ..pp._place import Placed, place_cells
from ..pp._transform import least_entries
from ._cell_evidence import appraise
from ._group_reliability import judge_cells, warn_of_refused
from ._out import Percentiles, ResultsOnDisk, stretch_rows
from ._predict_rows import PredictRows, predict_rows
from ._run_settings import describe_model, describe_run
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
    out: str | os.PathLike[str] | None = None,
    percentiles: bool = True,
    dtype: str = "float32",
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
    out
        Zarr store to write results to, chunk by chunk, so that they need not fit into memory; `adata` gets tables that are read when
        they are asked for. A store that exists must hold these very cells, such as that which they were read from. A run that was
        stopped goes on when the function is called again with the same arguments. See *Notes*.
    percentiles
        Store percentiles. Otherwise they are computed when they are asked for, and results take half the room.
    dtype
        ``"float32"``, or ``"float16"`` to store responses and percentiles in half the room, to three digits.
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
        comparable between drugs. 1 = more sensitive than every line. Not with ``percentiles=False``.
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
    OSError
        If `out` cannot be written, or holds something else (`FileExistsError`).
    RuntimeError
        If workers of a cluster lack scdrug or die again and again, or another run writes to `out`.

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

    With a client of `dask.distributed`, rows of a dask array, and of a file that workers can open, are read, placed and predicted by
    the workers, and with `out` written by them, too; results are the same. Then, and with `out`, tables in `obsm` are arrays without
    names of drugs, as anndata reads them lazily; :func:`scdrug.get.response_df` and all that reads predictions know the names. The
    store is made in ``f"{out}.part"`` and takes its place when it is whole. See *Millions of cells* in the guide.

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
    check_choice("dtype", dtype, ("float32", "float16"))
    reserve_predictions(adata, key_added)
    target = None if out is None else ResultsOnDisk(out, adata, key_added)
    trained = resolve_predictor(model)
    asked = trained.select_drugs(drugs)
    options = {
        "method": method,
        "anchor": anchor,
        "scale": scale,
        "shift_by_group": shift_by_group,
        "min_coverage": min_coverage,
    }
    with nullcontext() if target is None else target.locked():
        if target is not None:
            run = describe_run(
                adata, layer=layer, columns=[groupby, fit_on], groupby=groupby, fit_on=fit_on, **options, key_added=key_added,
                percentiles=percentiles, dtype=dtype, drugs=asked[1], model=describe_model(*asked),
            )  # fmt: skip
            rows = stretch_rows(adata, layer)
            target.start(run, len(asked[1]), rows=rows, dtype=dtype, percentiles=percentiles)
        placed = place_cells(
            adata,
            trained.profile,
            layer=layer,
            groupby=groupby,
            fit_on=fit_on,
            chunk_size=chunk_size,
            fitted=None if target is None else target.read_fit(trained.profile),
            **options,
        )
        if target is not None:
            target.keep_fit(placed.harmonization)
        results = _predict(
            trained, asked, placed, target, groupby, accelerator=accelerator, percentiles=percentiles, dtype=dtype
        )
        if key_added in adata.obsm:
            warnings.warn(f"Replacing the results that `adata.obsm[{key_added!r}]` held.", UserWarning, stacklevel=2)
        verdict, judged = results.provenance["verdict"], results.provenance.get("groups")
        if verdict != "ok":
            warnings.warn(verdict, UserWarning, stacklevel=2)
        elif judged is not None and groupby is not None:
            warn_of_refused(judged, groupby, "Rankings leave them out, and plots grey them.", stacklevel=2)
        if target is None:
            adata = results.store(adata, key_added, copy=copy and whole is None)
        else:
            values = target.finish(results.reliability, results.evidence, results.provenance)
            adata = store_predictions(adata, key_added, values, copy=copy and whole is None)
    return (adata if whole is None else whole) if copy else None


def _predict(
    trained: DrugResponseModel,
    asked: tuple[DrugResponseModel, list[str], np.ndarray],
    placed: Placed,
    target: ResultsOnDisk | None,
    groupby: str | None,
    *,
    accelerator: str,
    percentiles: bool,
    dtype: str,
) -> PredictedResponse:
    """Results, their tables in memory unless they were written to a store."""
    model, ids, columns = asked
    fitted = placed.harmonization
    predictor = RowPredictor(model, fitted, columns, accelerator=accelerator)
    work = PredictRows.of(placed, predictor, len(ids))
    if target is None:
        values, cells = predict_rows(placed, work)
    else:
        of_lines = Percentiles(model.calibration, columns, model.reference.lower_is_sensitive)
        values, cells = None, target.predict(placed, work, of_lines if percentiles else None)
    difficulty = Difficulty.of(model, placed, predictor, columns)
    shift, missing = relative_difficulty(trained, placed)
    seen = appraise(cells, placed, trained.profile.similarity, shift=shift, missing=missing)
    informative, verdict = cells.informative, seen.verdict
    if not informative.all():
        warn_caller(
            f"{int((~informative).sum()):,} of {len(informative):,} cells show fewer than "
            f"{least_entries(int((~fitted.unmeasured).sum()))} of the model's genes, as empty droplets do. They were left out "
            "of the fit and of the verdict; their predictions are missing (NaN) and their reliability is 0."
        )
    stated: dict[str, Any] = {
        "gene_coverage": fitted.coverage,
        "harmonization": fitted.summary(),
        "n_uninformative": int((~informative).sum()),
        "verdict": verdict,
        "difficulty": difficulty.stated(shift, missing),
        "network_share": model._network_share(None, placed.adata.n_obs, columns),
    }
    if groupby is not None:
        stated["groups"] = judge_cells(
            group_labels(placed.adata, groupby),
            predicted=informative,
            reliability=seen.reliability.astype(np.float32),
            evidence=pd.DataFrame(seen.evidence, dtype=np.float32),
            stated=stated["difficulty"],
            verdict=verdict,
        )
    return PredictedResponse.of(
        model,
        ids,
        columns,
        values,
        seen.reliability,
        percentiles=percentiles,
        dtype=dtype,
        evidence=seen.evidence,
        of_drugs=difficulty.of_drugs(),
        **stated,
    )


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
