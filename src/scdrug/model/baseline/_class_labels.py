"""Labels to train classifiers on: given, or made from the training responses by a rule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..._validate import check_choice, check_key, examples, nearest
from ...pp._response import METHODS, binarize

#: Lines of each class that a classifier needs; with fewer it would describe single lines.
MIN_PER_CLASS = 3


class ClassLabels(NamedTuple):
    """Labels of the training lines, and what they were made with."""

    #: Lines × drugs: 1 sensitive, 0 resistant, NaN neither or not measured.
    values: np.ndarray
    #: By drug id: `sensitive_threshold` and `resistant_threshold` in the unit of the response (NaN for given labels),
    #: `n_sensitive`, `n_resistant`, `n_discarded`, `rate`, and `status`: ``"ok"``, ``"one class"``, ``"too few lines"``
    #: or ``"no labels"``.
    table: pd.DataFrame

    @property
    def usable(self) -> np.ndarray:
        """Drugs that a classifier can be trained for (drugs, bool)."""
        return (self.table["status"] == "ok").to_numpy()

    @property
    def rate(self) -> np.ndarray:
        """Share of sensitive lines among the labelled ones; over all drugs where a drug has no labels (drugs)."""
        return self.table["rate"].to_numpy(dtype=np.float64)


def check_label_rule(label: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a rule for labels in plain types, with `method` first; `None` stands for labels that are given.

    Parameters
    ----------
    label
        Name of a method of :func:`scdrug.pp.binarize_response`, or a mapping with `method` and its arguments `fraction`,
        `threshold` and `min_lines`. `threshold` is one number, one for each drug id, or the name of a column of
        ``uns["drugs"]``.

    Raises
    ------
    ValueError
        If the rule is not complete, or names something that there is not; the nearest is offered.

    Examples
    --------
    >>> check_label_rule("median")
    {'method': 'median'}
    >>> check_label_rule({"fraction": 0.2, "method": "extreme"})
    {'method': 'extreme', 'fraction': 0.2}
    """
    if label is None:
        return None
    given = {"method": label} if isinstance(label, str) else dict(label)
    known = ("method", "fraction", "threshold", "min_lines")
    for name in given:
        check_choice("label", name, known)
    if "method" not in given:
        raise ValueError(f"`label` needs a `method`, one of {', '.join(map(repr, METHODS))}; found {given!r}.")
    rule: dict[str, Any] = {"method": str(given["method"])}
    if given.get("fraction") is not None:
        rule["fraction"] = float(given["fraction"])
    if given.get("min_lines") is not None:
        rule["min_lines"] = int(given["min_lines"])
    threshold = given.get("threshold")
    if isinstance(threshold, str):
        rule["threshold"] = threshold
    elif isinstance(threshold, Mapping | pd.Series):
        rule["threshold"] = {str(drug): float(value) for drug, value in dict(threshold).items()}
    elif threshold is not None:
        rule["threshold"] = float(threshold)
    if threshold is not None and rule["method"] != "threshold":
        raise ValueError(
            f"`label` has a threshold, but its method {rule['method']!r} finds its own. Choose 'threshold'."
        )
    values = rule["threshold"].values() if isinstance(threshold, Mapping | pd.Series) else (rule.get("threshold"),)
    for value in () if isinstance(threshold, str) and rule["method"] == "threshold" else values:
        binarize(np.empty(0), **{**rule, "threshold": value})  # raises what it has to say of the rule
    return rule


def with_thresholds(rule: Mapping[str, Any] | None, drugs: pd.DataFrame) -> Mapping[str, Any] | None:
    """Return the rule with thresholds by drug id in the place of the name of their column.

    Parameters
    ----------
    rule
        What :func:`check_label_rule` returned.
    drugs
        Table of the drugs, by id.

    Raises
    ------
    KeyError
        If the table has no such column.

    Examples
    --------
    >>> import pandas as pd
    >>> drugs = pd.DataFrame({"threshold": [0.5]}, index=["gefitinib"])
    >>> with_thresholds({"method": "threshold", "threshold": "threshold"}, drugs)["threshold"]
    {'gefitinib': 0.5}
    """
    if rule is None or not isinstance(rule.get("threshold"), str):
        return rule
    column = rule["threshold"]
    check_key(drugs, column, where="adata.uns['drugs']", hint="The rule of labels names it.")
    return {**rule, "threshold": {str(drug): float(value) for drug, value in drugs[column].dropna().items()}}


def make_labels(
    response: np.ndarray, rule: Mapping[str, Any] | None, *, drugs: Sequence[str], lower_is_sensitive: bool
) -> ClassLabels:
    """Label training lines; thresholds are found from these lines alone.

    Parameters
    ----------
    response
        Responses, or labels if `rule` is `None`, NaN where not measured (lines × drugs).
    rule
        What :func:`check_label_rule` returned.
    drugs
        Ids of the drugs.
    lower_is_sensitive
        Direction of the response; given labels are 1 for sensitive whatever it is.

    Raises
    ------
    ValueError
        If given labels are not 0 or 1, or a rule is given for what are labels already.
    KeyError
        If a drug has no threshold.

    Examples
    --------
    >>> import numpy as np
    >>> made = make_labels(
    ...     np.arange(10.0)[:, None], {"method": "extreme"}, drugs=["gefitinib"], lower_is_sensitive=True
    ... )
    >>> made.values[:, 0]
    array([ 1.,  1.,  1., nan, nan, nan, nan,  0.,  0.,  0.])
    >>> made.table.loc["gefitinib", ["n_sensitive", "status"]].tolist()
    [3, 'ok']
    """
    known = np.isfinite(response)
    strange = known & (response != 0) & (response != 1)
    thresholds = np.full((2, response.shape[1]), np.nan)
    if rule is None:
        if strange.any():
            row, column = np.argwhere(strange)[0]
            raise ValueError(
                f"Labels must be 1 (sensitive), 0 (resistant) or NaN (unknown); found {strange.sum()} other values, such "
                f"as {examples(np.unique(response[strange]))}, the first for {drugs[column]!r} in line {row}. To make labels "
                "from responses, pass a rule as `label`, for example 'extreme'."
            )
        values = response.astype(np.float64)
    else:
        if not strange.any():
            raise ValueError(
                f"The responses are all 0 or 1, so they are labels already, and `label={dict(rule)!r}` would cut them "
                "again. Pass `label=None`: 1 is then sensitive."
            )
        each = _thresholds(rule, drugs)
        made = [
            binarize(response[:, j], **{**rule, "threshold": each[j]}, lower_is_sensitive=lower_is_sensitive)
            for j in range(response.shape[1])
        ]
        values = np.column_stack([item.labels for item in made])
        thresholds = np.array([[item.sensitive_threshold, item.resistant_threshold] for item in made]).T
    return ClassLabels(values, _table(values, known, thresholds, drugs))


def _thresholds(rule: Mapping[str, Any], drugs: Sequence[str]) -> list[float | None]:
    """One threshold per drug; thresholds of drugs that are not in training are no mistake."""
    threshold = rule.get("threshold")
    if not isinstance(threshold, Mapping):
        return [threshold] * len(drugs)
    missing = [drug for drug in drugs if drug not in threshold]
    if missing:
        near = nearest(missing[0], threshold, n=1)
        hint = f" Did you mean {missing[0]!r} by {near[0]!r}?" if near else ""
        raise KeyError(
            f"`label['threshold']` has no value for {len(missing)} of {len(drugs)} drugs: {examples(missing)}.{hint} Give "
            "one for each drug id of the reference."
        )
    return [threshold[drug] for drug in drugs]


def _table(values: np.ndarray, known: np.ndarray, thresholds: np.ndarray, drugs: Sequence[str]) -> pd.DataFrame:
    sensitive, resistant = (values == 1).sum(axis=0), (values == 0).sum(axis=0)
    labelled = sensitive + resistant
    overall = sensitive.sum() / labelled.sum() if labelled.sum() else 0.5
    fewest = np.minimum(sensitive, resistant)
    return pd.DataFrame(
        {
            "sensitive_threshold": thresholds[0],
            "resistant_threshold": thresholds[1],
            "n_sensitive": sensitive,
            "n_resistant": resistant,
            "n_discarded": known.sum(axis=0) - labelled,
            "rate": np.where(labelled > 0, sensitive / np.maximum(labelled, 1), overall),
            "status": np.select(
                [labelled == 0, fewest == 0, fewest < MIN_PER_CLASS],
                ["no labels", "one class", "too few lines"],
                "ok",
            ).astype(object),
        },
        index=pd.Index([str(drug) for drug in drugs], dtype=object),
    )


def describe_rule(rule: Mapping[str, Any] | None) -> str:
    """A rule in words, for a model's card."""
    if rule is None:
        return "given"
    words = {name: "of each drug" if isinstance(value, Mapping) else value for name, value in rule.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def warn_constant(table: pd.DataFrame) -> None:
    """Warn, for the caller of `train`, of drugs that no classifier can be trained for."""
    constant = table[table["status"] != "ok"]
    if constant.empty:
        return
    reasons = [f"{status}: {examples(part.index, 3)}" for status, part in constant.groupby("status")]
    warnings.warn(
        f"{len(constant)} of {len(table)} drugs cannot be trained on their labels ({'; '.join(reasons)}). They get the same "
        "prediction for every sample, their share of sensitive lines. `labels_` has the numbers; another `label` rule may "
        "find both classes.",
        UserWarning,
        stacklevel=5,
    )
