"""Predicted responses of groups of cells in one pass, without a table of cells × drugs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._store import reserve, store
from ..model._predictor import RowPredictor
from ..pp._checks import check_cells
from ..pp._passes import over_rows
from ..pp._place import Placed, place_cells
from ..pp._rows import Blocks
from ..pp._transform import least_entries
from ._cell_evidence import Appraisal, CellEvidence, appraise
from ._group_reliability import judge_cells, warn_of_refused
from ._group_sums import GroupSums, Strata, read_samples
from ._grouped import is_grouped
from ._predict import resolve_predictor
from ._predict_rows import NOT_FINITE, PredictRows, evidence_of
from ._width import Difficulty, half_widths, median_by_group, relative_difficulty

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel
    from ..model._data import Calibration


@checked
def predict_groups(
    adata: AnnData,
    groupby: str,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    sample_key: str | None = None,
    drugs: str | Sequence[str] | Mapping[str, Any] | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    shift_by_group: bool = False,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    accelerator: str = "cpu",
    chunk_size: int | None = None,
    key_added: str = KEYS.GROUPED,
    copy: bool = False,
) -> AnnData | None:
    """Predict how groups of cells, such as clones or cell types, respond to each drug.

    Gives what :func:`predict_response` with `groupby` and :func:`scdrug.get.group_response_df` give for the same groups, but adds cells up
    block by block instead of keeping a prediction of each cell for each drug: this is for atlases.

    Parameters
    ----------
    adata
        Cells × genes, as :func:`predict_response` takes them.
    groupby
        Column of `obs` with the groups; every cell needs a label. The platform's shift is estimated in these groups.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    sample_key
        Column of `obs` with the donor of each cell: adds the response of each group in each donor. Cells without donor count for the groups
        alone.
    drugs, layer, scale, method, anchor, shift_by_group, fit_on, min_coverage, accelerator, chunk_size
        As in :func:`predict_response`.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["group_response" | key_added]["table"]`` : DataFrame
        One row per group and drug: `group`, `drug` (id), `name`, `n_cells`, `response` (mean over the cells, in the unit of the reference; lower
        ln IC50 = more sensitive), `spread` (standard deviation over the cells), `lower` and `upper` (see
        :func:`scdrug.get.group_response_df`), `percentile` (mean, 0-1; 1 = more sensitive than all reference lines) and `reliability` (0-1).
    ``adata.uns["group_response" | key_added]["samples"]`` : DataFrame
        With `sample_key`: the same for each group in each donor that has cells of it, with the column `sample`.
    ``adata.uns["group_response" | key_added]["reliability"]`` : DataFrame
        Reliability of the groups with the reason, as :func:`scdrug.get.group_reliability_df` returns it.

    Beside them stand model, unit, direction, drugs, verdict and arguments, as :func:`predict_response` stores them.

    Raises
    ------
    ValueError
        If cells have no label, `sample_key` is `groupby`, or as in :func:`predict_response`.
    KeyError
        If a column, drug or layer does not exist; the nearest names are offered.

    Warns
    -----
    UserWarning
        If no drug can be ranked for these cells or for some groups, or cells have no donor or show too few genes.

    See Also
    --------
    scdrug.get.group_response_df : the table, with ``key="group_response"``.
    predict_response : the same cell by cell, for ranking drugs and for plots.

    Notes
    -----
    Memory beside the cells is one block, the sums of the groups, and four numbers per cell, from which the medians follow that reliability and
    interval of a group are made of.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.toy_cells()
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_groups(cells, "clone", model, sample_key="sample")
    >>> table = scdrug.get.group_response_df(cells, "clone", drugs="trametinib", key="group_response")
    >>> table["n_cells"].sum() == cells.n_obs
    np.True_
    """
    check_cells(adata)
    reserve(adata, [("uns", key_added)], report=key_added, recognise=is_grouped, function="scdrug.tl.predict_groups")
    samples = None if sample_key is None else read_samples(adata, sample_key, groupby)
    trained = resolve_predictor(model)
    asked, ids, columns = trained.select_drugs(drugs)
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
    predictor = RowPredictor(asked, placed.harmonization, columns, accelerator=accelerator)
    labels = group_labels(adata, groupby)
    strata = Strata.of(labels, samples)
    sums, cells = _add_up(placed, predictor, asked, columns, strata)
    difficulty = Difficulty.of(asked, placed, predictor, columns)
    shift, missing = relative_difficulty(trained, placed)
    stated = difficulty.stated(shift, missing)
    seen = appraise(cells, placed, trained.profile.similarity, shift=shift, missing=missing)
    cohort = _Cohort(cells, seen, difficulty, stated, asked.calibration, columns, asked.drugs.loc[ids, "name"])
    table, judged = cohort.tabulate(labels, sums.join(strata.groups, len(labels.categories)))
    tables = {"table": table, "reliability": judged}
    if samples is not None:
        of_samples, _ = cohort.tabulate(strata.within_samples, sums.take(strata.known))
        tables["samples"] = strata.name(of_samples)
    n_left_out = int((~cells.informative).sum())
    if n_left_out:
        warnings.warn(
            f"{n_left_out:,} of {adata.n_obs:,} cells show fewer than {least_entries(int((~placed.harmonization.unmeasured).sum()))} of the "
            "model's genes, as empty droplets do, and were left out.",
            UserWarning,
            stacklevel=2,
        )
    if seen.verdict != "ok":
        warnings.warn(seen.verdict, UserWarning, stacklevel=2)
    else:
        warn_of_refused(judged, groupby, "Do not read what is predicted for them.", stacklevel=2)
    report = asked.provenance(
        **tables,
        params={"groupby": groupby, "sample_key": sample_key or "", "method": method, "anchor": anchor},
        drugs=asked.drugs.loc[ids].assign(half_width=asked.calibration.half_width[columns], **difficulty.of_drugs()),
        interval_level=asked.calibration.level,
        gene_coverage=placed.coverage,
        harmonization=placed.harmonization.summary(),
        n_uninformative=n_left_out,
        verdict=seen.verdict,
        difficulty=stated,
    )
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


@dataclass(frozen=True, eq=False)
class _Cohort:
    """What was seen of all cells, to make tables of groups of them."""

    cells: CellEvidence
    seen: Appraisal
    difficulty: Difficulty
    stated: dict[str, float]
    calibration: Calibration
    columns: np.ndarray
    #: Names of drugs by id.
    names: pd.Series

    def tabulate(self, labels: pd.Categorical, sums: GroupSums) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Responses of groups that have cells, and how far all groups are to be believed."""
        informative = self.cells.informative
        # as they are stored with cells
        evidence = pd.DataFrame(self.seen.evidence, dtype=np.float32)
        judged = judge_cells(
            labels,
            predicted=informative,
            reliability=self.seen.reliability.astype(np.float32),
            evidence=evidence,
            stated=self.stated,
            verdict=self.seen.verdict,
        )
        present = np.flatnonzero(sums.n_cells)
        some, shown = sums.take(present), judged.iloc[present]
        half_width = half_widths(
            self.calibration.half_width[self.columns],
            self.calibration.level,
            self.difficulty,
            np.arange(len(self.columns)),
            median_by_group(evidence["sharpness"].to_numpy(), np.where(informative, labels.codes, -1)),
            some.squared_error,
        )
        n_drugs, mean = len(self.names), some.mean
        table = pd.DataFrame(
            {
                "group": np.repeat(shown["group"].to_numpy(), n_drugs),
                "drug": np.tile(self.names.index.to_numpy(dtype=object), len(present)),
                "name": np.tile(self.names.to_numpy(dtype=object), len(present)),
                "n_cells": np.repeat(some.n_cells, n_drugs),
                "response": mean.ravel(),
                "spread": some.spread.ravel(),
                "lower": (mean - half_width).ravel(),
                "upper": (mean + half_width).ravel(),
                "percentile": (some.percentile / some.n_cells[:, None]).ravel(),
                "reliability": np.repeat(shown["reliability"].to_numpy(), n_drugs),
            }
        )
        return table, judged


@dataclass(frozen=True, eq=False)
class _AddUp:
    """Predict block by block, and keep sums and what was seen of each cell."""

    predict: PredictRows
    strata: np.ndarray
    n_strata: int
    calibration: Calibration
    columns: np.ndarray
    lower_is_sensitive: bool

    def __call__(self, blocks: Blocks) -> tuple[GroupSums, np.ndarray]:
        pivot = self.calibration.quantiles[50, self.columns].astype(float)
        sums, first = GroupSums.none(self.n_strata, pivot), blocks.rows.start
        seen = np.empty((4, blocks.rows.stop - first))
        for rows, values, of_block in self.predict.blocks(blocks):
            seen[:, rows.start - first : rows.stop - first] = of_block
            percentile = self.calibration.percentile(values, self.columns, lower_is_sensitive=self.lower_is_sensitive)
            counted = np.where(np.isfinite(of_block[0]), self.strata[rows], -1)
            sums.add(values, percentile, counted)
        return sums, seen

    def join(self, parts: Sequence[tuple[GroupSums, np.ndarray]]) -> tuple[GroupSums, np.ndarray]:
        sums, seen = zip(*parts)
        return reduce(add, sums), np.concatenate(seen, axis=1)


def _add_up(
    placed: Placed, predictor: RowPredictor, model: Any, columns: np.ndarray, strata: Strata
) -> tuple[GroupSums, CellEvidence]:
    """Sums of predictions, and what was seen of the cells."""
    work = _AddUp(
        PredictRows.of(placed, predictor, len(columns)),
        strata.codes,
        len(strata.groups),
        model.calibration,
        columns,
        model.reference.lower_is_sensitive,
    )
    fitted = placed.harmonization
    sums, seen = over_rows(
        placed.adata,
        work,
        layer=fitted.layer,
        chunk_size=placed.chunk_size,
        check=fitted.check_again,
        what="Predicting",
    )
    if not np.isfinite(sums.squares).all():
        raise RuntimeError(NOT_FINITE)
    return sums, evidence_of(seen)
