"""Predictions for held-out lines judged by another screen of the same lines and drugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._audit import LeakError
from .._constants import KEYS
from .._validate import check_key, examples
from ..metrics import Interval, bootstrap_matrix_interval, pearson, per_drug_pearson, per_line_pearson_centered
from ..pp._drug_names import same_drugs
from ..pp._measures import lower_is_sensitive
from ._identity import line_name
from ._splits import read_splits
from ._store import SCREEN_COLUMNS, Store

if TYPE_CHECKING:
    from anndata import AnnData

    from ._results import Results

#: Splits in which no tested line was trained on.
LINE_SPLITS = ("line", "tissue", "disjoint")
#: Metrics of :data:`scdrug.metrics.METRICS` that are computed; the last where both screens measure the same.
_METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "per_drug_pearson": per_drug_pearson,
    "per_line_pearson_centered": per_line_pearson_centered,
    "pearson": pearson,
}


@dataclass(frozen=True)
class _Pairs:
    """What was predicted for test lines of one repeat and measured in both screens; arrays lines × drugs."""

    #: Predictions, and their differences from the drug's mean in the training of the fold; low = sensitive.
    predicted: np.ndarray
    deviation: np.ndarray
    #: Response in the screen that was trained on.
    measured: np.ndarray
    #: Response in the other screen, NaN unless measured in both.
    truth: np.ndarray
    #: Number of each line's fold.
    fold: np.ndarray

    def of(self, rows: np.ndarray) -> _Pairs:
        return _Pairs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def score(self, metric: str) -> tuple[float, float]:
        """Agreement with the other screen of predictions, and of the screen that was trained on."""
        guess = self.predicted if metric == "pearson" else self.deviation
        return _both(_METRICS[metric], np.stack([guess, self.measured], axis=-1), self.truth)

    def share(self, metric: str, n_resamples: int, seed: int) -> Interval:
        """Share of a second screen, with its interval over lines."""
        guess = self.predicted if metric == "pearson" else self.deviation
        stacked = np.stack([guess, self.measured], axis=-1)

        def ratio(stacked: np.ndarray, truth: np.ndarray) -> float:
            value, bound = _both(_METRICS[metric], stacked, truth)
            return value / bound if bound > 0 else np.nan

        value = ratio(stacked, self.truth)
        if not n_resamples or not np.isfinite(value):
            return Interval(value, np.nan, np.nan)
        try:
            return bootstrap_matrix_interval(
                ratio, stacked, self.truth, resample="lines", n_resamples=n_resamples, seed=seed
            )
        except ValueError:  # defined in too few resamples
            return Interval(value, np.nan, np.nan)


def _both(
    metric: Callable[[np.ndarray, np.ndarray], float], stacked: np.ndarray, truth: np.ndarray
) -> tuple[float, float]:
    return metric(stacked[..., 0], truth), metric(stacked[..., 1], truth)


@checked
def score_screens(
    results: Results, reference: AnnData, screens: Mapping[str, AnnData], *, n_bootstrap: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Judge predictions for held-out lines by another screen, beside the screen that was trained on.

    A second screen of the same lines and drugs does not repeat the first: what it says of it is all that any prediction can be asked
    for. Each prediction is compared with the other screen on the pairs of a line and a drug that both screens measured, and so
    is the measured response of the first. The *share of a second screen* is the ratio of the two correlations.

    Parameters
    ----------
    results
        Results of :func:`run` with a split that holds lines out: ``"line"``, ``"tissue"`` or ``"disjoint"``; others are passed
        over, since they train on the lines that they test.
    reference
        What was trained on.
    screens
        Other screens by name, such as ``{"GDSC1": scdrug.datasets.gdsc("GDSC1"), "NCI-60": scdrug.datasets.nci60()}``. Only
        their responses and tables of drugs are used. Lines are joined by name, whatever the spelling; drugs by
        canonical structure, or by name where one side has no structure.
    n_bootstrap
        Resamples of lines for the interval of the share; 0 for none.
    seed
        Seed of the resamples.

    Returns
    -------
    A row for each split, model, screen and metric:

    ``metric``
        ``per_drug_pearson``; ``per_line_pearson_centered``, each drug's mean over the lines taken out; ``pearson``, over all pairs,
        where both screens have the same measure and unit.
    ``value``, ``value_sd``
        Correlation of predictions with the other screen, over all folds together; standard deviation over folds.
    ``measured``, ``measured_sd``
        The same of the response that the first screen measured.
    ``share``, ``low``, ``high``
        ``value / measured``, and its 95 % interval over lines.
    ``n_lines``, ``n_drugs``, ``n_pairs``, ``n_folds``
        How much was compared, and finished folds.

    Raises
    ------
    ValueError
        If no split holds lines out, no fold of one is finished, or a screen shares no measured pair with the tested ones.
    LeakError
        If a line that is compared was in the training of its fold, under whatever spelling.

    Notes
    -----
    Predictions of different folds come from different models. Before they are put together each is taken as difference from the
    drug's training mean of its fold, else a mean that is low in the fold in which it was computed without the most resistant
    lines would count as a wrong prediction; the pooled correlation takes them as they are. With several repeats, the mean over
    repeats.

    Examples
    --------
    >>> import scdrug, tempfile
    >>> first, second = scdrug.datasets.toy(), scdrug.datasets.toy()
    >>> splits = scdrug.benchmark.make_splits(first, "line", n_folds=3)
    >>> models = [scdrug.benchmark.ModelSpec("ridge", "KernelRidge")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = scdrug.benchmark.run(first, splits, models, out=folder + "/toy", progress=False)
    ...     table = scdrug.benchmark.score_screens(results, first, {"again": second}, n_bootstrap=0)
    >>> table.loc[table["metric"] == "pearson", "measured"].round(6).tolist()
    [1.0]
    """
    if not screens:
        raise ValueError(
            "`screens` must name at least one other screen, such as {'GDSC1': scdrug.datasets.gdsc('GDSC1')}."
        )
    kinds = {name: str(part["kind"]) for name, part in results.provenance["splits"].items()}
    check_line_splits(kinds)
    truths = {name: join_screen(screen, reference, name) for name, screen in screens.items()}
    direction = 1.0 if lower_is_sensitive(reference.uns) else -1.0
    store, rows = Store(results.folder), []
    for split in [name for name, kind in kinds.items() if kind in LINE_SPLITS]:
        for model, label in results.models.items():
            folds = store.finished(split, model)
            if not folds:
                continue
            check_lines_unseen(results, split, folds)
            for screen, truth in truths.items():
                repeats = list(_repeats(store, split, model, folds, truth, direction))
                for metric in _METRICS if repeats else ():
                    if metric != "pearson" or _same_measure(screens[screen], reference):
                        scored = _row(repeats, metric, n_bootstrap, seed)
                        rows.append({"split": split, "model": label, "screen": screen, "metric": metric, **scored})
    if not rows:
        raise ValueError("No fold of a split that holds lines out is finished. Run the benchmark again to go on.")
    return pd.DataFrame(rows, columns=list(SCREEN_COLUMNS))


def check_line_splits(kinds: Mapping[str, str]) -> None:
    """Raise unless one of the splits, by name, is of a kind that trains on none of the lines that it tests."""
    if not set(kinds.values()) & set(LINE_SPLITS):
        raise ValueError(
            f"Another screen judges lines that were not trained on, and none of the splits {examples(kinds)} holds lines out. Add one "
            f"of kind {' or '.join(map(repr, LINE_SPLITS))}."
        )


def join_screen(screen: AnnData, reference: AnnData, name: str) -> pd.DataFrame:
    """Response of another screen, low = sensitive, by lines and drug ids of a reference.

    Parameters
    ----------
    screen
        Responses and table of drugs; see :func:`score_screens`.
    reference
        Reference whose names are used.
    name
        What to call the screen in messages.

    Returns
    -------
    Lines × drugs that are in both; several drugs of the screen that are one of the reference are averaged.

    Raises
    ------
    KeyError
        If the screen has no responses or no table of drugs.
    ValueError
        If it shares no measured pair with the reference.
    """
    from ..pp._line_names import match_lines

    for key, where in ((KEYS.RESPONSE, "obsm"), (KEYS.DRUGS, "uns")):
        check_key(getattr(screen, where), key, where=f"screens[{name!r}].{where}", hint="See the data contract.")
    response = screen.obsm[KEYS.RESPONSE]
    lines = match_lines(map(str, screen.obs_names), map(str, reference.obs_names), reference.obs).found
    drugs = same_drugs(reference.uns[KEYS.DRUGS], screen.uns[KEYS.DRUGS].reindex(response.columns))
    values = response.loc[list(lines)].astype(float) * (1.0 if lower_is_sensitive(screen.uns) else -1.0)
    # a drug that has a row for each preparation, in different units of its spread, is averaged as it stands
    joined = {drug: values[same].mean(axis=1) for drug, same in drugs.items()}
    table = pd.DataFrame(joined, index=values.index).rename(index=lines)
    if not table.notna().to_numpy().any():
        raise ValueError(
            f"The screen {name!r} shares no measured pair with the reference: {len(lines)} lines and {len(drugs)} drugs are in both. "
            f"It has lines such as {examples(screen.obs_names)}, the reference {examples(reference.obs_names)}; drugs are joined "
            "by the columns 'smiles' and 'name' of `uns['drugs']`."
        )
    return table


def _same_measure(screen: AnnData, reference: AnnData) -> bool:
    described = [adata.uns.get(KEYS.RESPONSE, {}) for adata in (screen, reference)]
    return all(described[0].get(key) == described[1].get(key) for key in ("measure", "unit"))


def check_lines_unseen(results: Results, split: str, folds: list[str]) -> None:
    """Raise if a line is on both sides of a fold, under two spellings."""
    table = read_splits(results.folder / "splits" / f"{split}.csv.gz").table
    table = table[table["axis"] == "line"]
    names = table["line"].map(line_name)
    for fold in folds:
        both = set(names[table[fold].isin(["train", "validation"])]) & set(names[table[fold] == "test"])
        if both:
            raise LeakError(
                f"{len(both)} lines are trained on and tested in fold {fold} of {split!r}, under different spellings: "
                f"{examples(sorted(both))}. Make the splits with scdrug.benchmark.make_splits, which keeps them together."
            )


def _repeats(
    store: Store, split: str, model: str, folds: list[str], truth: pd.DataFrame, direction: float
) -> Iterator[_Pairs]:
    """Pairs of each repeat, all its folds together; without lines and drugs that were not measured in both screens."""
    by_repeat: dict[str, list[_Pairs]] = {}
    for number, fold in enumerate(folds):
        content = store.read_fold(split, model, fold)
        predicted, measured = (direction * values for values in content.matrices())
        predicted = content.meta["sign"] * predicted
        mean = direction * content.drug_mean if content.meta["same_unit"] else 0.0
        lines, drugs = truth.index.isin(content.lines), pd.Index(content.drugs).get_indexer(truth.columns)
        rows = pd.Index(content.lines).get_indexer(truth.index[lines])
        # drugs that this fold does not test stand last
        wide = [
            np.column_stack([values, np.full(len(values), np.nan)])
            for values in (predicted, predicted - mean, measured)
        ]
        predicted, deviation, measured = (values[np.ix_(rows, drugs)] for values in wide)
        both = np.where(np.isfinite(measured), truth.to_numpy()[lines], np.nan)
        pairs = _Pairs(predicted, deviation, measured, both, np.full(len(rows), number))
        by_repeat.setdefault(fold.split(".")[0], []).append(pairs)
    for parts in by_repeat.values():
        joined = _Pairs(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _Pairs.__dataclass_fields__)
        )
        known = np.isfinite(joined.truth)
        if known.any():
            columns = known.any(axis=0)
            kept = joined.of(known.any(axis=1))
            yield _Pairs(
                *(values[:, columns] for values in (kept.predicted, kept.deviation, kept.measured, kept.truth)),
                kept.fold,
            )


def _row(repeats: list[_Pairs], metric: str, n_bootstrap: int, seed: int) -> dict[str, float]:
    """Scores of one metric: means over repeats, and spread over folds."""
    together = np.array([pairs.score(metric) for pairs in repeats])
    shares = np.array([pairs.share(metric, n_bootstrap, seed) for pairs in repeats])
    by_fold = np.array(
        [pairs.of(pairs.fold == fold).score(metric) for pairs in repeats for fold in np.unique(pairs.fold)]
    )
    value, measured = together.mean(axis=0)
    sd = by_fold.std(axis=0, ddof=1) if len(by_fold) > 1 else np.full(2, np.nan)
    counts = np.mean([(*pairs.truth.shape, np.isfinite(pairs.truth).sum()) for pairs in repeats], axis=0)
    share, low, high = shares.mean(axis=0)
    return {
        "value": value, "value_sd": sd[0], "measured": measured, "measured_sd": sd[1], "share": share, "low": low, "high": high,
        **dict(zip(("n_lines", "n_drugs", "n_pairs"), counts.round().astype(int).tolist())), "n_folds": len(by_fold),
    }  # fmt: skip
