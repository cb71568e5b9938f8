"""Transfer from bulk lines to single cells of known lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..._arguments import checked
from ..._validate import check_choice, examples
from .._screens import join_screen
from .._search import Search
from ._cells import labelled_cells
from ._data import Genes, divide_reference
from ._fit import cell_rows, check_options, check_seeds, fit_model
from ._levels import (
    LEVELS,
    LineAssay,
    baseline_rows,
    find_clusters,
    model_rows,
    predict_levels,
    second_truth,
    standard_truth,
)
from ._lines import find_lines
from ._table import to_table

if TYPE_CHECKING:
    from anndata import AnnData

    from .._spec import ModelSpec


@checked
def score_lines(
    spec: ModelSpec,
    reference: AnnData,
    cells: AnnData,
    *,
    line_key: str = "cell_line",
    cluster_key: str | None = None,
    names: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    screen: AnnData | None = None,
    genes: Genes = "all",
    levels: Sequence[str] = LEVELS,
    seeds: int | Sequence[int] = (0,),
    search: Search | None = None,
    options: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
    task: str = "lines",
) -> pd.DataFrame:
    """Train without the lines of an assay, predict its cells, and compare them with the lines' measured response.

    The lines are found in the reference by name and taken out before training, with replicates and everything that is
    named after them. Their measured responses serve as truth and nothing else. Predictions and truth are z scores of
    the training lines, drug by drug.

    Parameters
    ----------
    spec
        Model to train. A model that learns from unlabelled cells too, with ``cells: assay`` in `params`, is handed the
        expression of `cells`; the table says so.
    reference
        Bulk reference with the responses of the assayed lines among others.
    cells
        Cells × genes of known lines, as for :func:`scdrug.tl.predict_response`. Not changed.
    line_key
        Column of `cells.obs` with the line. Cells without a line are left out with a warning.
    cluster_key
        Column of `cells.obs` with clusters. By default, cells are clustered by Leiden, without their labels.
    names
        Name in the reference by name in the cells, where case, punctuation and the prefix NCI do not explain it.
    exclude
        Further lines that must not be trained on.
    screen
        Another screen with the same lines, which sets the scale: its response to a drug is what measuring the lines again would
        tell. See :func:`score_screens` for how lines and drugs are joined. Everything is then scored on the pairs of a line and a
        drug that both screens measured.
    genes
        ``"all"`` trains on all genes of the reference; ``"shared"`` on those that the cells measure.
    levels
        What to score, of ``"cell"``, ``"line mean"``, ``"cluster"``, ``"pseudobulk"`` and ``"bulk"``.
    seeds
        Seeds of training, each scored by itself.
    search
        How to choose what `spec` tunes, on training lines set aside.
    options
        Arguments of :func:`scdrug.tl.predict_response`, e.g. ``{"anchor": "mean"}``.
    n_bootstrap
        Resamples of lines and drugs for the intervals; 0 for none.
    task
        Label of the table.

    Returns
    -------
    A row for each score: `task`, `model`, `seed`, `level`, `metric`, `value`, `low`, `high` (95 %), `note` (why a value
    is not defined).

    ``level``
        ``"cell"``: each cell against its line; ``"line mean"``: mean prediction of a line's cells, the headline;
        ``"cluster"``: mean of a cluster against the line that most of its cells belong to; ``"pseudobulk"``: prediction
        for the summed cells of a line; ``"bulk"``: prediction for the line's own bulk profile, the upper bound;
        ``"shuffled lines"``: line means against the truth of other lines, value and interval over assignments, that is,
        chance; ``"second screen"``: the response in `screen`, as if it were a prediction; ``"data"``: how much there was to
        score.
    ``metric``
        ``flat``: Pearson correlation over all pairs; ``contrast``: the same after taking each drug's mean over the
        units out; ``rmse_z``: root mean squared error of the z scores; ``bias_z``: their mean error, positive = predicted
        too resistant; ``per_drug``: mean over drugs of the correlation over units, of drugs measured in three lines;
        ``flat_share``, …: share of the upper bound; ``flat_screen_share``, …: share of what the second screen reaches; ``flat_across``,
        …: the same predictions against the second screen; ``flat_across_share``, …: their share of what the screen that was trained
        on reaches there; ``purity``: share of cells that belong to their cluster's line; ``flat_p``, ``contrast_p``: share of
        assignments of lines that score as high; ``n``: units.
    ``model``
        The name of the model, or ``"drug mean"``, the naive baseline: `flat` is zero by construction, and `contrast` not
        defined.

    Raises
    ------
    KeyError
        If a column is missing, or a line is not in the reference; the nearest names are offered.
    ValueError
        If lines are ambiguous, too few training lines are left, or the model takes no new samples.
    LeakError
        If a line of the assay reaches training.

    Notes
    -----
    Predictions that are not in the unit of the response, such as probabilities of classifiers, are put into units of
    the model's own predictions for the reference, and turned round if higher means more sensitive; their error is not
    defined. Intervals resample lines and drugs; every level is scored on the same resamples.

    Examples
    --------
    >>> import scdrug
    >>> from scdrug.benchmark import score_lines
    >>> from scdrug.benchmark import ModelSpec
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> cells = cells[cells.obs["clone"].isin(["clone-a", "clone-b"])].copy()
    >>> cells.obs["cell_line"] = cells.obs["clone"].map({"clone-a": "TOY-0001", "clone-b": "TOY-0002"})
    >>> scores = score_lines(ModelSpec("ridge", "KernelRidge"), reference, cells, levels=["line mean"], n_bootstrap=0)
    >>> scores.loc[scores["metric"] == "flat", "model"].tolist()
    ['drug mean', 'ridge', 'ridge']
    """
    for level in levels:
        check_choice("levels", level, LEVELS)
    options, seeds = check_options(options), check_seeds(seeds)
    cells, labels = labelled_cells(cells, line_key, argument="line_key")
    assayed = find_lines(reference, pd.unique(labels.astype(str)), names=names, exclude=exclude)
    data = divide_reference(reference, assayed, genes=genes, var_names=cells.var_names)
    lines = sorted(assayed.rows.keys() & set(labels.astype(str)))
    truth, second = standard_truth(data, lines), None
    if screen is not None:
        truth, second = _on_both(
            truth,
            second_truth(data, join_screen(screen, reference, "screen"), lines, reference.obs_names[assayed.held_out]),
        )
    cluster, without = find_clusters(cells, cluster_key, options) if "cluster" in levels else (None, "")
    assay = LineAssay(
        data=data,
        cells=cells,
        lines=lines,
        line=pd.Index(lines).get_indexer(labels.astype(str)),
        truth=truth,
        cluster=cluster,
        without_clusters=without,
        second=second,
    )
    rows = baseline_rows(assay, seed=seeds[0], n_bootstrap=n_bootstrap)
    for seed in seeds:
        model = fit_model(spec, data, seed=seed, search=search, cells=cells, options=options)
        scored = predict_levels(model, assay, levels, options)
        rows += cell_rows(model, spec.name, seed)
        rows += model_rows(scored, assay, spec.name, seed, n_bootstrap)
    return to_table(rows, task)


def _on_both(truth: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both truths on the pairs that both screens measured, of drugs with any."""
    second = second.reindex(columns=truth.columns)
    both = truth.notna() & second.notna()
    drugs = both.columns[both.any(axis=0)]
    if not len(drugs):
        raise ValueError(
            f"`screen` has no response of the lines of the assay, {examples(truth.index)}, to a drug of the reference. Use one in "
            "which they were screened, or leave it out."
        )
    return truth.where(both)[drugs], second.where(both)[drugs]
