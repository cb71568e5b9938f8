"""What attribution to pathways and to genes have in common: models, cells, blocks of rows, and what is stored."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._store import Place, holds, owned, reserve
from .._store import store as store_all
from .._validate import check_choice, examples, plain
from ..pp._checks import check_cells
from ..pp._place import Placed, place_cells
from ._attribution import MAX_ERROR, Totals, attribute_rows, baseline_output, feature_names
from ._predict import resolve_model

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel
    from ..model._explain import Explained

BASELINES = ("lines", "zero")
DIRECTION = "positive contributions support sensitive, negative ones resistant"


@dataclass(frozen=True)
class Request:
    """What was asked for, with the harmonization of the cells."""

    baseline: str
    n_steps: int
    layer: str | None
    scale: str
    method: str
    anchor: str
    groupby: str | None
    shift_by_group: bool
    fit_on: str | None
    min_coverage: float
    chunk_size: int | None
    #: Keep contributions of each cell, and of each cell and model.
    per_cell: bool
    per_model: bool
    #: Whether models were trained on lines drawn again, and not with other seeds.
    resampled: bool


@dataclass(frozen=True)
class Found:
    """Contributions to one drug."""

    drug: str
    totals: Totals
    #: Mean over models (cells × features), `None` if not kept.
    cells: np.ndarray | None
    #: Cells × features × models, `None` if not kept.
    models: np.ndarray | None
    #: Largest error of completeness, and the most steps that were taken.
    error: float
    n_steps: int
    #: Output at the baseline, mean over models.
    baseline: float


def check_request(adata: AnnData, request: Request) -> None:
    """Raise if the arguments or the cells cannot be used."""
    check_choice("baseline", request.baseline, BASELINES)
    if isinstance(request.n_steps, bool) or not request.n_steps >= 1:
        raise ValueError(f"`n_steps` must be at least 1; found {request.n_steps}.")
    check_cells(adata)


def resolve_models(
    model: str | os.PathLike[str] | DrugResponseModel | Sequence[Any], drugs: str | Sequence[str]
) -> tuple[list[DrugResponseModel], list[str], np.ndarray]:
    """Load one or several models, and find drugs in them.

    Raises
    ------
    ValueError
        If there is no model or no drug, or models differ in genes or drugs.
    """
    several = isinstance(model, Sequence) and not isinstance(model, str)
    models = [resolve_model(one) for one in (model if several else [model])]
    if not models:
        raise ValueError("`model` is an empty list. Pass a trained model, or several.")
    first = models[0]
    for one in models[1:]:
        if type(one) is not type(first) or list(one.drugs.index) != list(first.drugs.index):
            raise ValueError(
                "The models have different classes or drugs, so their contributions cannot be averaged. Train them "
                "on the same reference, with other seeds."
            )
        if list(one.genes) != list(first.genes):
            raise ValueError("The models have different genes. Train them on the same reference, with other seeds.")
    wanted = [drugs] if isinstance(drugs, str) else list(drugs)
    if not wanted:
        raise ValueError("`drugs` is empty. Name at least one drug of the model.")
    chosen, ids, columns = first.select_drugs(wanted)
    if chosen is not first:
        raise ValueError(
            f"Attribution explains drugs of the training; {examples(wanted)} would be predicted from structure. Name drugs of "
            f"the model, such as {examples(first.drugs['name'], 3)}."
        )
    unique = dict(zip(ids, columns))
    return models, list(unique), np.array(list(unique.values()))


def check_genes(parts: Sequence[Explained], panel: Sequence[str]) -> None:
    """Raise unless models that are attributed to genes read the same."""
    features = feature_names(parts[0], panel)
    if any(feature_names(one, panel) != features for one in parts[1:]):
        raise ValueError(
            "The models read different genes. Train them on the same reference and cells, with other seeds."
        )


def attribute_cells(
    adata: AnnData,
    models: Sequence[DrugResponseModel],
    parts: Sequence[Explained],
    ids: Sequence[str],
    request: Request,
    *,
    n_features: int,
    combine: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> tuple[list[Found], float]:
    """Attribute block by block.

    Parameters
    ----------
    adata
        Cells × genes.
    models, parts
        The models, whole and taken apart.
    ids
        Drugs.
    request
        What was asked for.
    n_features
        Number of features after `combine`.
    combine
        Joins features that cannot be told apart (rows × features).

    Returns
    -------
    Contributions to each drug, and the share of the panel that the cells measure.
    """
    placed = _place(adata, models, request)
    fits = [one.harmonization for one in placed]
    shape = (adata.n_obs, n_features)
    totals = [Totals(len(models), n_features, request.resampled) for _ in ids]
    cells = [np.empty(shape, dtype=np.float32) if request.per_cell else None for _ in ids]
    keep = request.per_cell and request.per_model and len(models) > 1
    by_model = [np.empty((*shape, len(models)), dtype=np.float32) if keep else None for _ in ids]
    error, n_steps = np.zeros(len(ids)), np.zeros(len(ids), dtype=int)
    for rows, block, groups in placed[0].raw_blocks():
        found = []
        for one, fit in zip(parts, fits):
            placed_rows = fit.transform(block, groups)
            found.append(attribute_rows(one, placed_rows.values, n_steps=request.n_steps))
        for drug, across in enumerate(zip(*found)):
            values = [combine(result.values) for result in across]
            mean = totals[drug].add(values)
            if cells[drug] is not None:
                cells[drug][rows] = mean
            if keep:
                by_model[drug][rows] = np.stack(values, axis=2)
            error[drug] = max(error[drug], *(float(result.error.max()) for result in across))
            n_steps[drug] = max(n_steps[drug], *(result.n_steps for result in across))
    baseline = np.mean([baseline_output(one) for one in parts], axis=0)
    results = [
        Found(drug, *found)
        for drug, *found in zip(
            ids, totals, cells, by_model, error.tolist(), n_steps.tolist(), baseline.tolist(), strict=True
        )
    ]
    return results, placed[0].coverage


def _place(adata: AnnData, models: Sequence[DrugResponseModel], request: Request) -> list[Placed]:
    """The cells on the scale of each model's reference."""
    placed: list[Placed] = []
    for model in models:
        placed.append(
            place_cells(
                adata,
                model.profile,
                method=request.method,
                anchor=request.anchor,
                scale=request.scale,
                layer=request.layer,
                groupby=request.groupby,
                shift_by_group=request.shift_by_group,
                fit_on=request.fit_on,
                min_coverage=request.min_coverage,
                chunk_size=request.chunk_size,
                match=placed[0].match if placed else None,
            )
        )
    return placed


def summary_table(results: Sequence[Found], models: Sequence[DrugResponseModel], features: np.ndarray) -> pd.DataFrame:
    """One row per drug: what the contributions are worth."""
    return pd.DataFrame(
        {
            "name": [str(models[0].drugs.loc[one.drug, "name"]) for one in results],
            "baseline": [one.baseline for one in results],
            "completeness_error": [one.error for one in results],
            "n_steps": [one.n_steps for one in results],
            "stability": [one.totals.stability(features) for one in results],
        },
        index=pd.Index([one.drug for one in results], name="drug"),
    )


def warn_incomplete(summary: pd.DataFrame) -> None:
    """Warn of drugs whose contributions do not add up."""
    worst = summary.sort_values("completeness_error").iloc[-1]
    if worst["completeness_error"] > MAX_ERROR:
        warnings.warn(
            f"Contributions to {worst['name']} miss what they should add up to by {worst['completeness_error']:.1%} after "
            f"{worst['n_steps']} steps. Raise `n_steps`.",
            UserWarning,
            stacklevel=3,
        )


def reserve_attribution(adata: AnnData, key: str, ids: Sequence[str], *, n_models: int, per_model: bool = True) -> None:
    """Raise unless contributions to drugs may be stored under `key`, see :func:`scdrug._store.reserve`."""
    several = per_model and n_models > 1 if isinstance(key, str) else False
    places = [("obsm", cell_key(key, drug)) for drug in ids] if isinstance(key, str) else []
    places += [("obsm", model_key(key, drug)) for drug in ids] if several else []
    reserve(
        adata,
        [("uns", key), *places],
        report=key,
        recognise=is_attribution,
        former=lambda held: _cell_places(key, held),
        function="attribution",
    )


def _cell_places(key: str, held: Mapping[str, Any]) -> list[Place]:
    """Contributions that a report without a list of places belongs to."""
    return [("obsm", name(key, drug)) for drug in held["summary"].index for name in (cell_key, model_key)]


def store(
    adata: AnnData,
    key: str,
    results: Sequence[Found],
    features: Sequence[str],
    *,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    params: dict[str, Any],
    copy: bool = False,
) -> AnnData:
    """Write everything at the end, together, and take away contributions to drugs that are no longer described."""
    old = owned(adata, report=key, recognise=is_attribution, former=lambda held: _cell_places(key, held))
    if old:
        warnings.warn(f"Replacing the contributions that `adata.uns[{key!r}]` describes.", UserWarning, stacklevel=3)
    values: dict[Place, Any] = {}
    for one in results:
        if one.cells is not None:
            values["obsm", cell_key(key, one.drug)] = pd.DataFrame(
                one.cells, index=adata.obs_names, columns=pd.Index(features, dtype=object)
            )
        if one.models is not None:
            values["obsm", model_key(key, one.drug)] = one.models
    values["uns", key] = {"params": plain(params), "table": table, "summary": summary}
    return store_all(adata, values, report=key, drop=old - set(values), copy=copy)


def cell_key(key: str, drug: str) -> str:
    """Key of `obsm` with the contributions to a drug."""
    return f"{key}_{drug}"


def model_key(key: str, drug: str) -> str:
    """Key of `obsm` with the contributions to a drug by model."""
    return f"{key}_{drug}_models"


#: Whether something in `uns` is what attribution stores.
is_attribution = holds("params", "table", "summary")
