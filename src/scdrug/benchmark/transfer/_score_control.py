"""Cells for which no drug should be ranked: how many are refused, and what is said of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arguments import checked
from ..._constants import KEYS, MIN_RELIABILITY
from ...metrics import bootstrap_interval
from .._search import Search
from ._data import Genes, divide_reference
from ._fit import cell_rows, check_options, check_seeds, fit_model, shell
from ._lines import find_lines
from ._table import Row, to_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from .._spec import ModelSpec

#: Percentile above which a drug is called effective.
_EFFECTIVE = 0.9


@checked
def score_control(
    spec: ModelSpec,
    reference: AnnData,
    cells: AnnData,
    *,
    exclude: Sequence[str] = (),
    genes: Genes = "all",
    seeds: int | Sequence[int] = (0,),
    search: Search | None = None,
    options: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
    task: str = "control",
) -> pd.DataFrame:
    """Predict cells for which the reference holds no answer, such as healthy blood, and see whether they are refused.

    Parameters
    ----------
    spec
        Model to train.
    reference
        Bulk reference.
    cells
        Cells × genes, as for :func:`scdrug.tl.predict_response`. Not changed.
    exclude
        Lines that must not be trained on, if the cells come from any.
    genes, seeds, search, options
        As for :func:`score_lines`.
    n_bootstrap
        Resamples of cells for the intervals; 0 for none.
    task
        Label of the table.

    Returns
    -------
    A row for each score: `task`, `model`, `seed`, `level`, `metric`, `value`, `low`, `high` (95 %), `note`.

    ``level``
        ``"cell"``; ``"drug"``: means over the cells; ``"data"``: how much there was to score.
    ``metric``
        ``refused``: share of the cells that are: all where the verdict is not ``"ok"``, which stands in `note`, else those whose
        reliability lies below what is ranked; ``reliability``: its mean; ``above_90``: share of drugs for which the mean percentile of
        the cells lies above the 90th, whether they are refused or not; ``percentile``: mean over drugs and cells; ``n``.

    Raises
    ------
    ValueError
        If the model takes no new samples, or cells cannot be predicted; see :func:`scdrug.tl.predict_response`.

    Examples
    --------
    >>> import scdrug
    >>> from scdrug.benchmark import ModelSpec, score_control
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scores = score_control(ModelSpec("ridge", "KernelRidge"), reference, cells, n_bootstrap=0)
    >>> scores.loc[scores["level"] == "cell", "metric"].tolist()
    ['n', 'refused', 'reliability']
    """
    options, seeds = check_options(options), check_seeds(seeds)
    data = divide_reference(
        reference, find_lines(reference, (), exclude=exclude), genes=genes, var_names=cells.var_names
    )
    rows: list[Row] = []
    for seed in seeds:
        model = fit_model(spec, data, seed=seed, search=search, cells=cells, options=options)
        rows += cell_rows(model, spec.name, seed)
        rows += _rows(model, cells, options, spec.name, seed, n_bootstrap)
    return to_table(rows, task)


def _rows(model: Any, cells: AnnData, options: Mapping[str, Any], name: str, seed: int, n_bootstrap: int) -> list[Row]:
    from ...tl._predict import predict_response

    placed = shell(cells, options.get("layer"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the verdict stands in the table
        predict_response(placed, model, **options)
    reliability = placed.obs[KEYS.RELIABILITY].to_numpy(dtype=float)
    percentile = placed.obsm[KEYS.PERCENTILE].to_numpy(dtype=float)
    verdict = str(placed.uns[KEYS.PREDICTED]["verdict"])
    refused = np.full(len(reliability), True) if verdict != "ok" else reliability < MIN_RELIABILITY
    known = np.isfinite(percentile).all(axis=1)

    def row(level: str, metric: str, values: np.ndarray, statistic: Any, note: str = "") -> Row:
        value = float(statistic(values)) if len(values) else np.nan
        if not n_bootstrap or len(values) < 2:
            return Row(name, seed, level, metric, value, note=note)
        drawn = bootstrap_interval(
            np.arange(len(values)), statistic=lambda rows: statistic(values[rows.astype(int)]), n_resamples=n_bootstrap
        )
        return Row(name, seed, level, metric, value, drawn.low, drawn.high, note)

    return [
        Row(name, seed, "data", "drugs", percentile.shape[1]),
        Row(name, seed, "cell", "n", len(reliability)),
        row("cell", "refused", refused, np.mean, note="" if verdict == "ok" else verdict),
        row("cell", "reliability", reliability, np.mean),
        row("drug", "above_90", percentile[known], lambda cells: (cells.mean(axis=0) > _EFFECTIVE).mean()),
        row("drug", "percentile", percentile[known], np.mean),
    ]
