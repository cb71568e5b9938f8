"""Cells in the space that a model sees them in: its latent space, and the activity of its pathways."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._arguments import checked
from .._constants import KEYS
from .._store import Place, holds, reserve, store
from .._validate import plain
from ..pp._checks import check_cells
from ..pp._place import Placed, place_cells
from ._predict import resolve_model

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel


@checked
def embed(
    adata: AnnData,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Place cells in a model's latent space, and say how active its pathways are in each.

    Genes are matched and cells are brought onto the scale of the model's bulk reference as in
    :func:`scdrug.tl.predict_response`, block by block in constant memory. Neighbours, clusters and a UMAP can be computed from the
    result: :func:`scanpy.pp.neighbors` takes its key as `use_rep`.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms.
    model
        Name of a bundled model, folder of a saved one, or a trained model. A :class:`~scdrug.model.PathwayTransfer`, such as the bundled
        ``"gdsc2-pathways-1"``, gives pathways too.
    layer, scale, method, anchor, groupby, shift_by_group, fit_on, min_coverage, chunk_size
        As in :func:`scdrug.tl.predict_response`: pass the same as there to see what it predicted from.
    key_added
        Key of the latent space; ``"X_"`` and the name of the model's class if omitted, such as ``"X_pathwaytransfer"``. Only what scdrug
        stored is replaced.
    copy
        Return a copy, in memory, instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["X_<class>" | key_added]`` : array
        Cells × latent dimensions, float32; NaN for cells that show too few genes. For models without a code of their own, coordinates along the leading
        directions of variation of the reference, most variance first.
    ``adata.obsm["pathway_activity"]`` : DataFrame
        For models with pathways: cells × pathways, in standard deviations of the training lines around their mean; up = the genes of the
        pathway go up. With `key_added`, under ``f"{key_added}_pathway_activity"``.
    ``adata.uns["X_<class>" | key_added]`` : dict
        Model, version, harmonization, gene coverage, and, for models with pathways, ``pathways``: how well each is identified, see
        :meth:`scdrug.model.PathwayTransfer.get_pathway_table`.

    Raises
    ------
    ValueError
        If the object is empty, genes are not human or too few, values are not finite or contradict `scale`, the model is unknown, or
        a key is taken by something that scdrug did not store.
    KeyError
        If a layer or column is unknown.

    Warns
    -----
    UserWarning
        If cells show too few genes, or if gene names had to be read otherwise than as they stand.

    Notes
    -----
    Where cells lie does not say how far their predictions are to be believed: :func:`scdrug.tl.predict_response` does. Activity is the
    shared code of He et al. 2025 (eq. 5), standardised; of pathways with the same genes, or that are not identified, it means little.

    See Also
    --------
    scdrug.pp.embed_cells : foundation models and factors, as inputs of :class:`~scdrug.model.DeepCDR`.
    scdrug.tl.attribute_pathways : which pathways a prediction comes from.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32)
    >>> model.train(max_epochs=2)
    >>> scdrug.tl.embed(cells, model)
    >>> cells.obsm["X_pathwaytransfer"].shape, cells.obsm["pathway_activity"].shape
    ((200, 13), (200, 13))
    """
    check_cells(adata)
    trained = resolve_model(model)
    key = f"X_{type(trained).__name__.lower()}" if key_added is None else key_added
    activity_key = KEYS.ACTIVITY if key_added is None else f"{key_added}_{KEYS.ACTIVITY}"
    reserve(
        adata,
        [("obsm", key), ("uns", key), ("obsm", activity_key)],
        report=key,
        recognise=holds("model", "harmonization", "n_dimensions"),
        function="scdrug.tl.embed",
    )
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

    latent = _latent(placed, trained)
    empty = np.isnan(latent).all(axis=1)
    activity = trained._activity_of(latent)

    if empty.any():
        warnings.warn(
            f"{int(empty.sum()):,} of {len(empty):,} cells show too few of the model's genes, as empty droplets do. They have no place "
            "(NaN): leave them out before computing neighbours.",
            UserWarning,
            stacklevel=2,
        )
    report: dict[str, Any] = {
        "model": str(trained.notes_.get("name", type(trained).__name__)),
        "model_class": type(trained).__name__,
        "scdrug_version": __version__,
        "n_dimensions": latent.shape[1],
        "gene_coverage": placed.coverage,
        "n_uninformative": int(empty.sum()),
        "harmonization": placed.harmonization.summary(),
    }
    values: dict[Place, Any] = {("obsm", key): latent, ("uns", key): plain(report)}
    if activity is not None:
        values["obsm", activity_key] = activity.astype(np.float32).set_axis(adata.obs_names, axis=0)
        values["uns", key]["pathways"] = _for_files(trained.get_pathway_table())
    adata = store(adata, values, report=key, copy=copy)
    return adata if copy else None


def _latent(placed: Placed, model: DrugResponseModel) -> np.ndarray:
    """Codes of all cells (cells × dimensions, float32); NaN for those that show too few genes."""
    inputs = model._sample_inputs(placed.adata)
    parts = []
    for rows, block in placed.blocks():
        code = np.array(
            model._latent_rows(block.values, *(() if inputs is None else (inputs[rows],))), dtype=np.float32
        )
        code[~np.isfinite(block.similarity)] = np.nan
        parts.append(code)
    return np.concatenate(parts)


def _for_files(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose text columns h5ad and zarr can hold."""
    return table.assign(**{name: table[name].astype(str) for name in table.columns if table[name].dtype == object})
