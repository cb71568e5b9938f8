"""Are drugs that are approved for a type of tumour predicted to work in its lines? Predictions for held-out lines are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples
from ..metrics import bootstrap_interval
from ..pp._drug_names import drug_facts, split_codes
from ..pp._measures import lower_is_sensitive
from ._screens import LINE_SPLITS, check_line_splits, check_lines_unseen
from ._store import Store

if TYPE_CHECKING:
    from anndata import AnnData

    from ._results import Results

#: Name of the rows about what was measured, and of those over all types.
MEASURED, ALL = "measured", "all types"
_COLUMNS = (
    "split", "model", "tumour_type", "n_lines", "n_drugs", "percentile", "auroc", "line_mean", "chance", "gain", "low", "high", "p_value",
)  # fmt: skip


@dataclass(frozen=True)
class _Recall:
    """How far each type's lines rank before the others; arrays types × drugs, NaN where a drug is not compared."""

    #: Median percentile of the type's lines among the lines of their fold (0-1, 1 = most sensitive).
    percentile: np.ndarray
    #: Probability that a line of the type ranks before one of another type.
    auroc: np.ndarray
    #: The same if lines are ranked by their mean percentile over drugs.
    line_mean: np.ndarray


@checked
def score_indications(
    results: Results,
    reference: AnnData,
    *,
    tumour_key: str = "tcga_label",
    indications: Mapping[str, Sequence[str]] | None = None,
    min_lines: int = 5,
    n_permutations: int = 1000,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask whether drugs that are approved for a type of tumour rank high in its lines.

    For each type and each drug that is approved for it, held-out lines of the type are compared with all other lines of the fold, by what was
    predicted *for this drug*: a potent drug gains nothing, and a drug mean stands at 0.5 exactly. The measured responses of the
    same pairs are scored beside the models: no model can be asked for more.

    Parameters
    ----------
    results
        Results of :func:`run` with a split that holds lines out: ``"line"``, ``"tissue"`` or ``"disjoint"``; others are passed over.
    reference
        What was trained on.
    tumour_key
        Column of ``reference.obs`` with the type of each line, as a code of TCGA or several with slashes (``"COAD/READ"``).
    indications
        Types that each drug is approved for, by drug id; those of the bundled list (:func:`scdrug.get.drug_evidence_df`) if omitted.
    min_lines
        Fewest lines of a type, and of the others, that a drug must have been tested in.
    n_permutations
        How often drugs change their indications for `chance`, `gain` and `p_value`.
    n_bootstrap
        Resamples of types for the interval; 0 for none.
    seed
        Seed of both.

    Returns
    -------
    A row for each split, model and type, and over all types (``"all types"``: means over types); the model ``"measured"`` is the screen:

    ``n_lines``, ``n_drugs``
        Lines of the type, and approved drugs that were compared.
    ``percentile``
        Mean over drugs of the median percentile of the type's lines (0-1; 1 = more sensitive than all lines).
    ``auroc``
        Mean over drugs of the probability that a line of the type is predicted to be more sensitive than one of another type.
    ``line_mean``
        The same if lines are ranked by the mean of their percentiles over all drugs: what is due to types that respond to anything.
    ``chance``, ``p_value``
        Mean of `auroc` if drugs change their indications among themselves, and share of such exchanges that reach `auroc`.
    ``gain``, ``low``, ``high``
        ``auroc - chance``, what is particular to approved drugs; in the row over all types with its 95 % interval over types.

    Raises
    ------
    KeyError
        If `reference` has no column `tumour_key` or no table of drugs.
    ValueError
        If no split holds lines out, no fold of one is finished, or no type has lines and an approved drug.
    LeakError
        If a line that is compared was in the training of its fold, under whatever spelling.

    Notes
    -----
    After the test of CellHit (Carli et al. 2025, doi:10.1038/s41467-025-56827-5), which asks it of patients of TCGA. An approval is no response:
    approved drugs fail in many lines, and drugs without approval may work, so that the measured row stands far below 1. Blood cancers respond to
    nearly everything, so that solid tumours stand below 0.5 against them whatever the drug: `gain` is the number to compare. Exchanging
    indications among drugs keeps how many drugs a type has, and how readily its lines respond to anything. Lines are compared
    within their fold, since predictions of different folds come from different models. With several repeats, the mean over repeats.

    Examples
    --------
    >>> import scdrug, tempfile
    >>> reference = scdrug.datasets.toy()
    >>> approved = {"trametinib": ["skin"], "paclitaxel": ["breast"]}
    >>> splits = scdrug.benchmark.make_splits(reference, "line", n_folds=3)
    >>> models = [scdrug.benchmark.ModelSpec("mean", "AdditiveMean")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = scdrug.benchmark.run(reference, splits, models, out=folder + "/toy", progress=False)
    ...     table = scdrug.benchmark.score_indications(results, reference, tumour_key="tissue", indications=approved)
    >>> table.loc[(table["model"] == "mean") & (table["tumour_type"] == "all types"), "auroc"].tolist()
    [0.5]
    """
    kinds = {name: str(part["kind"]) for name, part in results.provenance["splits"].items()}
    check_line_splits(kinds)
    check_key(reference.obs, tumour_key, where="reference.obs", hint="Name the column with the type of each line.")
    types = reference.obs[tumour_key].astype(object).where(reference.obs[tumour_key].notna(), "").astype(str)
    approved = _approved(reference, indications)
    direction = 1.0 if lower_is_sensitive(reference.uns) else -1.0
    store, rows = Store(results.folder), []
    for split in [name for name, kind in kinds.items() if kind in LINE_SPLITS]:
        finished = {model: store.finished(split, model) for model in results.models}
        most = max(finished, key=lambda model: len(finished[model]))
        # what was measured is the same for all models that finished as many folds
        asked = [
            *((MEASURED, most, folds) for folds in [finished[most]] if folds),
            *((results.models[model], model, folds) for model, folds in finished.items() if folds),
        ]
        for label, model, folds in asked:
            check_lines_unseen(results, split, folds)
            repeats = _sensitivity(store, split, model, folds, direction, measured=label == MEASURED)
            scored = _score(repeats, types, approved, min_lines, n_permutations, n_bootstrap, seed)
            rows.append(scored.assign(split=split, model=label))
    if not rows:
        raise ValueError("No fold of a split that holds lines out is finished. Run the benchmark again to go on.")
    return pd.concat(rows, ignore_index=True)[list(_COLUMNS)]


def _approved(reference: AnnData, indications: Mapping[str, Sequence[str]] | None) -> dict[str, set[str]]:
    """Types that each drug of the reference is approved for."""
    if indications is not None:
        unknown = [drug for drug in indications if drug not in reference.obsm[KEYS.RESPONSE].columns]
        if unknown:
            raise ValueError(
                f"`indications` names drugs that are not among the ids of the reference: {examples(unknown)}. It has ids such as "
                f"{examples(reference.obsm[KEYS.RESPONSE].columns)}."
            )
        return {drug: set(types) for drug, types in indications.items()}
    check_key(dict(reference.uns), KEYS.DRUGS, where="reference.uns", hint="Or pass `indications`.")
    drugs = pd.DataFrame(reference.uns[KEYS.DRUGS])
    listed = drug_facts(drugs["name"])["indications"]
    return {str(drug): set(split_codes(text)) for drug, text in zip(drugs.index, listed) if text}


def _sensitivity(
    store: Store, split: str, model: str, folds: Sequence[str], direction: float, *, measured: bool
) -> list[list[pd.DataFrame]]:
    """Test pairs by repeat and fold (lines × drugs, high = sensitive), NaN where not tested."""
    by_repeat: dict[str, list[pd.DataFrame]] = {}
    for fold in folds:
        content = store.read_fold(split, model, fold)
        predicted, observed = content.matrices()
        values = observed if measured else content.meta["sign"] * predicted
        table = pd.DataFrame(-direction * values, index=content.lines, columns=content.drugs)
        by_repeat.setdefault(fold.split(".")[0], []).append(table)
    return list(by_repeat.values())


def _score(
    repeats: Sequence[Sequence[pd.DataFrame]],
    types: pd.Series,
    approved: Mapping[str, set[str]],
    min_lines: int,
    n_permutations: int,
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    folds = [fold for repeat in repeats for fold in repeat]
    drugs = pd.Index(sorted(set().union(*(fold.columns for fold in folds))))
    names = sorted(set(types) - {""})
    found = [_recall([fold.reindex(columns=drugs) for fold in repeat], types, names, min_lines) for repeat in repeats]
    percentile, auroc, line_mean = (
        np.mean([getattr(one, part) for one in found], axis=0) for part in ("percentile", "auroc", "line_mean")
    )
    compared = np.isfinite(auroc)
    indicated = np.array(
        [[not approved.get(str(drug), set()).isdisjoint(name.split("/")) for drug in drugs] for name in names]
    )
    chosen = indicated & compared
    kept = chosen.any(axis=1)
    if not kept.any():
        raise ValueError(
            f"No type of tumour has {min_lines} held-out lines and an approved drug. Types are {examples(names)}, and drugs are approved for "
            f"{examples(sorted(set().union(*approved.values(), set())))}."
        )

    def of_types(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return _mean(values, mask, axis=1)[kept]

    observed = of_types(auroc, chosen)
    chance, p_values = _chance(observed, lambda mask: of_types(auroc, mask & compared), indicated, n_permutations, seed)
    lines = types.reindex(pd.Index(np.concatenate([fold.index for fold in repeats[0]])))
    table = pd.DataFrame(
        {
            "tumour_type": np.array(names, dtype=object)[kept],
            "n_lines": [int((lines == name).sum()) for name in np.array(names)[kept]],
            "n_drugs": chosen.sum(axis=1)[kept],
            "percentile": of_types(percentile, chosen),
            "auroc": observed,
            "line_mean": of_types(line_mean, chosen),
            "chance": chance[:-1],
            "gain": observed - chance[:-1],
            "low": np.nan,
            "high": np.nan,
            "p_value": p_values[:-1],
        }
    )
    interval = (np.nan, np.nan)
    if n_bootstrap and table["gain"].notna().sum() > 1:
        interval = bootstrap_interval(table["gain"].to_numpy(), n_resamples=n_bootstrap, seed=seed)[1:]
    means = table[["percentile", "auroc", "line_mean", "chance", "gain"]].mean()
    sums = {"n_lines": table["n_lines"].sum(), "n_drugs": int(chosen.any(axis=0).sum())}
    bounds = {"low": interval[0], "high": interval[1], "p_value": p_values[-1]}
    return pd.concat([pd.DataFrame([{"tumour_type": ALL, **means, **sums, **bounds}]), table], ignore_index=True)


def _recall(folds: Sequence[pd.DataFrame], types: pd.Series, names: Sequence[str], min_lines: int) -> _Recall:
    """Rank the lines of each drug within their fold, and compare types."""
    shape = len(names), folds[0].shape[1]
    n_type, n_other, n_pairs, above, above_by_mean = np.zeros((5, *shape))
    ranked, members = [], []
    for fold in folds:
        values = fold.to_numpy(dtype=float)
        known = np.isfinite(values)
        of_type = np.array([types.reindex(fold.index) == name for name in names], dtype=float)
        inside = of_type @ known
        outside = known.sum(axis=0) - inside
        n_type, n_other, n_pairs = n_type + inside, n_other + outside, n_pairs + inside * outside
        percentile = (_ranks(values) - 0.5) / np.maximum(known.sum(axis=0), 1)
        line_mean = np.nansum(percentile, axis=1) / np.maximum(known.sum(axis=1), 1)
        by_mean = np.where(known, line_mean[:, None], np.nan)
        least = inside * (inside + 1) / 2
        above += of_type @ np.nan_to_num(_ranks(values)) - least
        above_by_mean += of_type @ np.nan_to_num(_ranks(by_mean)) - least
        ranked.append(percentile)
        members.append(of_type)
    enough = (n_type >= min_lines) & (n_other >= min_lines) & (n_pairs > 0)
    auroc, line_mean = (np.where(enough, part / np.maximum(n_pairs, 1), np.nan) for part in (above, above_by_mean))
    percentile, of_type = np.concatenate(ranked), np.concatenate(members, axis=1)
    median = np.full(shape, np.nan)
    for row in np.flatnonzero(enough.any(axis=1)):
        median[row, enough[row]] = np.nanmedian(percentile[of_type[row] > 0][:, enough[row]], axis=0)
    return _Recall(median, auroc, line_mean)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within columns, from 1; NaN stays NaN."""
    return np.asarray(rankdata(values, axis=0, nan_policy="omit"), dtype=float)


def _chance(
    observed: np.ndarray, score: Callable[[np.ndarray], np.ndarray], indicated: np.ndarray, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the scores of types, and of their mean, if drugs change their indications, and p-values (types + 1)."""
    rng = np.random.default_rng(seed)
    draws = np.array([score(indicated[:, rng.permutation(indicated.shape[1])]) for _ in range(n)])
    # an exchange may leave a type without any drug that was compared
    draws = np.column_stack([draws, _mean(draws, np.isfinite(draws), axis=1)])
    defined = np.isfinite(draws)
    reached = draws >= np.append(observed, observed.mean()) - 1e-12
    return _mean(draws, defined, axis=0), (1 + reached.sum(axis=0)) / (1 + defined.sum(axis=0))


def _mean(values: np.ndarray, mask: np.ndarray, *, axis: int) -> np.ndarray:
    """Mean of what the mask keeps; NaN where it keeps nothing."""
    count = mask.sum(axis=axis)
    return np.where(count > 0, np.where(mask, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)
