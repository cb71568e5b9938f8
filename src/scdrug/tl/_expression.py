"""Expression under treatment, as the core of CSG2A predicts it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._labels import group_labels
from .._store import holds, reserve, store
from .._validate import plain
from ._perturbed import perturbing_model, reference_rows, structures_of

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A


@checked
def predict_expression(
    adata: AnnData,
    model: str | os.PathLike[str] | CSG2A,
    *,
    drugs: str | Sequence[str] | Mapping[str, str],
    groupby: str | None = None,
    dose: float | None = None,
    time: float | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    min_coverage: float = 0.3,
    key_added: str = "predicted_expression",
    copy: bool = False,
) -> AnnData | None:
    """Predict how drugs would change expression, group by group, and how far they would move each cell.

    Parameters
    ----------
    adata
        Cells, pseudobulks or lines × genes.
    model
        A :class:`scdrug.model.CSG2A` whose core was pretrained on perturbation data.
    drugs
        Names or ids of drugs, SMILES, or a mapping of names to SMILES.
    groupby
        Column of `obs` with the groups; all samples form one if omitted.
    dose, time
        µM and hours; those of the model's responses if omitted. Doses and times far from those of the pretraining are
        extrapolated linearly.
    layer, scale, method, anchor, min_coverage
        How samples are brought onto the reference's scale, see :func:`scdrug.tl.predict_response`.
    key_added
        Key of the results.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["predicted_expression" | key_added]`` : dict
        ``shift``: a row for each group and drug × genes of the model's panel, mean difference between perturbed and
        basal expression in robust standard deviations of the reference lines; ``table``: group, drug, name, number of
        cells and mean distance of each row; ``params``.
    ``adata.obsm["predicted_expression_distance"]`` : DataFrame
        Cells × drugs, Euclidean distance between perturbed and basal expression over the panel.

    Raises
    ------
    RuntimeError
        If the core was not pretrained.
    TypeError
        If the model is of another class.
    KeyError, ValueError
        If a drug or column is not known, or too few genes are measured.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.settings.progress = False
    >>> reference, treated = scdrug.datasets.toy(), scdrug.datasets.toy_perturbations()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
    >>> summary = model.pretrain(treated, max_epochs=2)
    >>> model.train(max_epochs=1)
    >>> cells = scdrug.datasets.toy_cells()
    >>> scdrug.tl.predict_expression(cells, model, drugs=["trametinib"], groupby="clone")
    >>> list(cells.obsm["predicted_expression_distance"].columns)
    ['trametinib']
    """
    reserve(
        adata,
        [("obsm", f"{key_added}_distance"), ("uns", key_added)],
        report=key_added,
        recognise=holds("shift", "table"),
        function="scdrug.tl.predict_expression",
    )
    trained = perturbing_model(model, pretrained=True)
    table = structures_of(trained, drugs)
    labels = None if groupby is None else group_labels(adata, groupby)
    codes = np.zeros(adata.n_obs, dtype=int) if labels is None else np.asarray(labels.codes)
    groups = ["all"] if labels is None else [str(name) for name in labels.categories]
    conditions = trained.conditions(list(table["smiles"]), dose=dose, time=time)

    distance = np.empty((adata.n_obs, len(table)), dtype=np.float32)
    sums = np.zeros((len(groups), len(table), conditions.shape[1]))
    blocks = reference_rows(
        adata, trained, layer=layer, scale=scale, method=method, anchor=anchor, min_coverage=min_coverage
    )
    for rows, values in blocks:
        inside = codes[rows]
        for drug, condition in enumerate(conditions):
            basal, perturbed = trained.perturb(values, condition)
            shift = perturbed - basal
            distance[rows, drug] = np.linalg.norm(shift, axis=1)
            np.add.at(sums[:, drug], inside[inside >= 0], shift[inside >= 0])
    counts = np.bincount(codes[codes >= 0], minlength=len(groups))

    distances = pd.DataFrame(distance, index=adata.obs_names, columns=pd.Index(list(table.index)))
    report = _results(sums, counts, distance, codes, groups, table, trained) | {
        "params": plain(
            {
                "groupby": groupby,
                "dose": trained.settings.dose if dose is None else dose,
                "time": trained.settings.time if time is None else time,
                **{f"pretraining_{name}": value for name, value in trained.pretraining.items()},
            }
        )
    }
    values = {("obsm", f"{key_added}_distance"): distances, ("uns", key_added): report}
    adata = store(adata, values, report=key_added, copy=copy)
    return adata if copy else None


def _results(
    sums: np.ndarray,
    counts: np.ndarray,
    distance: np.ndarray,
    codes: np.ndarray,
    groups: list[str],
    drugs: pd.DataFrame,
    model: CSG2A,
) -> dict[str, pd.DataFrame]:
    """Mean shift and distance of each group and drug."""
    rows = [(group, drug) for group in range(len(groups)) for drug in range(len(drugs))]
    index = pd.Index([f"{groups[group]} | {drugs.index[drug]}" for group, drug in rows])
    shift = np.array([sums[group, drug] / max(counts[group], 1) for group, drug in rows], dtype=np.float32)
    table = pd.DataFrame(
        {
            "group": [groups[group] for group, _ in rows],
            "drug": [str(drugs.index[drug]) for _, drug in rows],
            "name": [str(drugs["name"].iloc[drug]) for _, drug in rows],
            "n_cells": [int(counts[group]) for group, _ in rows],
            "distance": [
                float(distance[codes == group, drug].mean()) if counts[group] else np.nan for group, drug in rows
            ],
        },
        index=index,
    )
    return {"shift": pd.DataFrame(shift, index=index, columns=list(model.module.panel)), "table": table}
