"""Which pathways make a cell sensitive or resistant."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._validate import check_choice, plain
from ..pp._checks import check_cells
from ..pp._genes import check_coverage, match_genes
from ..pp._harmonization import cell_groups, fit_harmonization
from ..pp._rows import iter_row_blocks
from ._attribution import Attribution, integrate_gradients, summarise
from ._predict import _resolve_model

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model.pathway_transfer import PathwayTransfer

#: Error of completeness, as a share of what is attributed, above which more steps are taken, and their most.
_MAX_ERROR, _MAX_STEPS = 0.01, 800


def attribute_pathways(
    adata: AnnData,
    model: PathwayTransfer | str | os.PathLike[str] | Sequence[PathwayTransfer],
    drug: str,
    *,
    baseline: str = "lines",
    n_steps: int = 50,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    groupby: str | None = None,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
    key_added: str = KEYS.PATHWAY_IG,
    copy: bool = False,
) -> AnnData | None:
    """Attribute each cell's predicted response to the pathways of its code.

    Integrated gradients (Sundararajan et al. 2017) of the network's output for one drug, with respect to the shared code
    and from a baseline code on: contributions of a cell's pathways add up to its prediction minus that of the baseline.
    Positive contributions support *sensitive*, negative ones *resistant*, whatever the direction of the response.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms.
    model
        Trained :class:`~scdrug.model.PathwayTransfer` with pathways, the folder of a saved one, or several that were trained
        with different seeds: contributions are then averaged, and their stability is reported.
    drug
        Name or id of a drug of the model.
    baseline
        Code that contributions are counted from: ``"lines"``, the mean code of the training lines, or ``"zero"``.
    n_steps
        Steps of the integral; doubled until contributions add up within 1 %.
    layer, scale, method, anchor, groupby, fit_on, min_coverage, chunk_size
        As in :func:`scdrug.tl.predict_response`: pass the same as there.
    key_added
        Key of `obsm` and `uns`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["pathway_ig" | key_added]`` : DataFrame
        Cells × nodes: contribution to being sensitive, in the unit of the response (log-odds for a classification).
    ``adata.uns["pathway_ig" | key_added]`` : dict
        ``"ranking"``: DataFrame by node, most important first: `importance` (mean absolute contribution), `mean`,
        `supports` (``"sensitive"`` or ``"resistant"``, by the sign of the mean), `consistency` (share of cells of that
        sign), `identified` and `own_r2` (how far the node is the pathway, see
        :meth:`~scdrug.model.PathwayTransfer.get_pathway_table`), and over several models `sd` of the importance and
        `sign_agreement`. ``"completeness_error"``: largest difference between the sum of contributions and what they should
        add up to, as a share of the latter's mean size. ``"stability"``: mean rank correlation of importances between models
        (NaN for one). ``"network_share"``: share of the network in the prediction; the rest is the linear path's, which no
        pathway explains. The drug, the baseline and the number of steps.

    Raises
    ------
    TypeError, ValueError
        If the model has no pathways, models differ in theirs, or cells do not fit.
    KeyError
        If the drug is not known; the nearest names are offered.

    Warns
    -----
    UserWarning
        If contributions do not add up within 1 %, or the network has less than a tenth of the prediction.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, linear_ridge=0)
    >>> model.train(max_epochs=3, cells=cells)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> cells.obsm["pathway_ig"].shape
    (200, 13)
    """
    check_choice("baseline", baseline, ("lines", "zero"))
    if n_steps < 1:
        raise ValueError(f"`n_steps` must be at least 1; found {n_steps}.")
    check_cells(adata)
    models = _check_models(model)
    _, (drug_id,), _ = models[0].select_drugs([drug])
    options = {
        "layer": layer, "scale": scale, "method": method, "anchor": anchor, "groupby": groupby, "fit_on": fit_on,
        "min_coverage": min_coverage, "chunk_size": chunk_size,
    }  # fmt: skip

    results = [_attribute(adata, one, drug_id, baseline=baseline, n_steps=n_steps, **options) for one in models]
    share = float(np.mean([_network_share(one) for one in models]))
    table, ranking, stability = summarise([result.values for result in results], models[0].get_pathway_table())
    error = max(result.error for result in results)
    if error > _MAX_ERROR:
        warnings.warn(
            f"Contributions miss what they should add up to by {error:.1%}, after {results[0].n_steps} steps. "
            "Raise `n_steps`.",
            UserWarning,
            stacklevel=2,
        )
    if share < 0.1:
        warnings.warn(
            f"The network has {share:.0%} of these predictions; the rest is the linear path's, which no pathway explains. "
            "Train with `linear_ridge=0` to explain predictions by pathways.",
            UserWarning,
            stacklevel=2,
        )

    adata = adata.copy() if copy else adata
    adata.obsm[key_added] = pd.DataFrame(table, index=adata.obs_names, columns=pd.Index(models[0].pathways_))
    adata.uns[key_added] = plain(
        {
            "ranking": ranking,
            "drug": drug_id,
            "drug_name": str(models[0].drugs.loc[drug_id, "name"]),
            "baseline": baseline,
            "n_steps": int(max(result.n_steps for result in results)),
            "completeness_error": error,
            "stability": stability,
            "n_models": len(models),
            "network_share": share,
        }
    )
    return adata if copy else None


def _check_models(model: Any) -> list[PathwayTransfer]:
    """Resolve one or several models and check that all have the same pathways and drugs."""
    several = isinstance(model, Sequence) and not isinstance(model, str)
    models = [_resolve_model(one) for one in (model if several else [model])]
    if not models:
        raise ValueError("`model` is an empty list. Pass a trained PathwayTransfer, or several.")
    for one in models:
        if not getattr(one, "pathways_", None):
            raise TypeError(
                f"Pathways are attributed to by a PathwayTransfer with `variant='full'`; found a {type(one).__name__}"
                f"{' without pathways' if hasattr(one, 'pathways_') else ''}."
            )
    first = models[0]
    for one in models[1:]:
        if one.pathways_ != first.pathways_ or list(one.drugs.index) != list(first.drugs.index):
            raise ValueError(
                "The models have different pathways or drugs, so that their contributions cannot be averaged. Train them on "
                "the same reference and cells, with other seeds."
            )
    return models


def _network_share(model: PathwayTransfer) -> float:
    return float(model.module.gate) if model.module.sizes.linear else 1.0


def _attribute(
    adata: AnnData, model: PathwayTransfer, drug_id: str, *, baseline: str, n_steps: int, **options: Any
) -> Attribution:
    code = _encode(adata, model, **options)
    column = int(model.drugs.index.get_loc(drug_id))
    sign = -1.0 if model.reference.lower_is_sensitive else 1.0
    start = model.module.code_mean if baseline == "lines" else model.module.code_mean * 0

    def towards_sensitive(z: Any) -> Any:
        return sign * model.module.respond(z)[:, column]

    model.module.eval()
    return integrate_gradients(
        towards_sensitive, code, start.cpu().numpy(), n_steps=n_steps, max_error=_MAX_ERROR, max_steps=_MAX_STEPS
    )


def _encode(
    adata: AnnData,
    model: PathwayTransfer,
    *,
    layer: str | None,
    scale: str,
    method: str,
    anchor: str,
    groupby: str | None,
    fit_on: str | None,
    min_coverage: float,
    chunk_size: int | None,
) -> np.ndarray:
    """Shared code of raw cells (cells × nodes)."""
    match = match_genes(adata.var_names, model.genes)
    check_coverage(match, min_coverage=min_coverage, names=adata.var_names)
    groups, mask = cell_groups(adata, groupby=groupby, fit_on=fit_on)
    fitted = fit_harmonization(
        adata,
        model.profile,
        match,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groups=groups,
        fit_mask=mask,
        chunk_size=chunk_size,
    )
    blocks = [
        model._latent_rows(fitted.transform(block).values)
        for _, block in iter_row_blocks(adata, layer=layer, chunk_size=chunk_size)
    ]
    return np.vstack(blocks)
