"""Train for a transfer to cells under the audit, and predict as users do."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._audit import holding_out
from ..._constants import KEYS
from ..._validate import check_choice
from .._fit import audit_model, tuned
from .._fold import Training
from .._identity import line_groups
from .._search import Search
from .._splits import TRAIN, VALIDATION
from ._data import TransferData
from ._table import Row

if TYPE_CHECKING:
    from anndata import AnnData

    from ...model._base import DrugResponseModel
    from .._spec import ModelSpec

#: Value of `cells` among the parameters of a model that stands for the cells to be scored.
ASSAY = "assay"
#: Share of the training lines that choose what is tuned and when training stops.
_VALIDATION = 0.1
#: Arguments of `tl.predict_response` that the harness sets itself.
_OWN_OPTIONS = ("adata", "model", "drugs", "key_added", "copy")


def fit_model(
    spec: ModelSpec,
    data: TransferData,
    *,
    seed: int,
    search: Search | None = None,
    cells: AnnData | None = None,
    options: Mapping[str, Any] | None = None,
) -> DrugResponseModel:
    """Train under the audit; what is tuned is chosen on training lines set aside, never on cells.

    Parameters
    ----------
    spec
        Model.
    data
        Training data.
    seed
        Seed of training and of the lines set aside.
    search
        How to choose what is tuned.
    cells
        Cells of the assay. A model whose `params` say ``cells: assay`` learns from their expression, and from nothing else of
        them.
    options
        Arguments of :func:`scdrug.tl.predict_response`, by which these cells are harmonized too.

    Raises
    ------
    ValueError
        If the model cannot predict samples that it was not trained on, or takes no cells in training.
    LeakError
        If a line of the assay reaches training.
    """
    card = spec.model_class.card
    if not card.unseen_cells:
        raise ValueError(
            f"{spec.name!r} ({card.name}) cannot predict samples that were not in training, and so no cells. "
            "Leave it out of single-cell transfer."
        )
    search = search or Search()
    if getattr(spec, "params", {}).get("cells") == ASSAY:
        spec = _with_cells(spec, data, cells, options or {})
    validates = bool(getattr(card, "validates", False))
    roles = _line_roles(data.training, _VALIDATION if spec.tune or validates else 0.0, seed)
    training = Training(data.training, np.tile(roles[:, None], (1, len(data.drugs))))
    with holding_out(data.held_out):
        spec, _, _ = tuned(spec, training, search, None, seed)
        model = spec.fit(training.adata, validation=training.validation if validates else None, seed=seed)
        audit_model(model)
    return model


def _with_cells(spec: ModelSpec, data: TransferData, cells: AnnData | None, options: Mapping[str, Any]) -> ModelSpec:
    """Put the assay's cells, harmonized as for prediction and without what is known of them, into the place of their name."""
    from ...pp import harmonize

    if cells is None:
        raise ValueError(f"{spec.name!r} asks for `cells: {ASSAY}`, but the task has none to learn from.")
    known = inspect.signature(harmonize).parameters
    placed = harmonize(
        shell(cells, options.get("layer")), data.training, **{key: options[key] for key in options if key in known}
    )
    bare = type(placed)(placed.X, obs=placed.obs[[]], var=placed.var[[]])
    return replace(spec, params={**spec.params, "cells": bare, "cells_method": "none"})


def cell_rows(model: DrugResponseModel, name: str, seed: int) -> list[Row]:
    """Say on how many unlabelled cells a model was trained, if on any.

    Parameters
    ----------
    model
        Trained model.
    name, seed
        Columns of the table.
    """
    n_cells = getattr(model, "n_cells_", 0)
    note = "transductive: trained on the expression, not the labels, of the cells that are scored"
    return [Row(name, seed, "data", "unlabelled cells", n_cells, note=note)] if n_cells else []


def _line_roles(adata: AnnData, validation: float, seed: int) -> np.ndarray:
    """Role of each training line; all profiles of a line have one role."""
    groups = line_groups(adata)
    roles = np.full(adata.n_obs, TRAIN, dtype=np.int8)
    if validation:
        n_lines = groups.max() + 1
        chosen = np.random.default_rng(seed).choice(n_lines, max(1, round(validation * n_lines)), replace=False)
        roles[np.isin(groups, chosen)] = VALIDATION
    return roles


def check_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of `tl.predict_response`, with an error for those that it does not have."""
    from ...tl._predict import predict_response

    options = dict(options or {})
    known = [name for name in inspect.signature(predict_response).parameters if name not in _OWN_OPTIONS]
    for name in options:
        check_choice("options", name, known)
    return options


def predict_cells(
    model: DrugResponseModel, cells: AnnData, *, drugs: Iterable[str], options: Mapping[str, Any]
) -> np.ndarray:
    """Predict as users do, with harmonization; `cells` are not changed (cells × drugs, float32).

    Parameters
    ----------
    model
        Trained model.
    cells
        Cells × genes.
    drugs
        Ids of drugs of the model.
    options
        Arguments of :func:`scdrug.tl.predict_response`.
    """
    from ...tl._predict import predict_response

    wanted = list(drugs)
    placed = shell(cells, options.get("layer"))
    everything = len(wanted) == len(model.drugs)
    predict_response(placed, model, drugs=None if everything else wanted, **options)
    values = placed.obsm[KEYS.PREDICTED].loc[:, wanted].to_numpy(dtype=np.float32)
    without = np.isnan(values).all(axis=1)
    if without.any() and not without.all():
        # a cell that shows nothing is judged like the others, by what is known of it: that it belongs to the cohort
        values[without] = values[~without].mean(axis=0)
    return values


def predict_bulk(model: DrugResponseModel, data: TransferData, *, drugs: Sequence[str]) -> np.ndarray:
    """Predict the bulk profiles of the lines of an assay (rows of `bulk` × drugs).

    Parameters
    ----------
    model
        Trained model.
    data
        Reference without these lines, and their profiles.
    drugs
        Ids of drugs of the model.

    Raises
    ------
    ValueError
        If a prediction is not finite.
    """
    values = model.predict(data.bulk, key_added=None).loc[:, list(drugs)].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{type(model).__name__} predicted NaN or infinity for {int(bad.sum())} bulk profiles and drugs, such as "
            f"{data.bulk.obs_names[row]} with {list(drugs)[column]}. A model must answer everything that it is asked."
        )
    return values


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as a list, with an error if there is none."""
    seeds = [seeds] if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not seeds:
        raise ValueError("`seeds` must name at least one seed, such as (0,); found none.")
    return seeds


def shell(cells: AnnData, layer: str | None) -> AnnData:
    """An object that shares the expression of `cells`, so that results have a place of their own without a copy.

    Parameters
    ----------
    cells
        Cells × genes.
    layer
        Layer that is read; `X` if `None`.
    """
    from anndata import AnnData as New

    if cells.isbacked:
        cells = cells.to_memory()
    layers = {} if layer is None else {layer: cells.layers[layer]}
    # what an earlier prediction left in `obs` would be taken for the user's own, since `uns` does not come along
    obs = cells.obs.drop(columns=KEYS.RELIABILITY, errors="ignore")
    return New(cells.X if layer is None else None, obs=obs, var=cells.var[[]].copy(), layers=layers)
