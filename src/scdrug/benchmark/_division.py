"""How a reference is divided: what is held out, what stays together, and the roles of each fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice, check_key
from ._identity import drug_groups, line_groups
from ._splits import KINDS, MEMBERS, PAIRWISE, SplitKind, Splits

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def make_splits(
    adata: AnnData,
    kind: SplitKind,
    *,
    n_folds: int | None = 5,
    n_repeats: int = 1,
    validation: float = 0.1,
    seed: int = 0,
    line_key: str | None = None,
    tissue_key: str = "tissue",
    response_key: str = "response",
    label_key: str = "response_binary",
) -> Splits:
    """Divide a reference into training, validation and test data, fold by fold.

    Each fold tests one part of what is divided, and sets a share of the rest aside for validation. What belongs together
    stays together: profiles of one line, drugs of one structure (salts and names aside), and all measurements of a line
    with a structure, also if two releases of a screen were joined.

    Parameters
    ----------
    adata
        Bulk reference; see the data contract.
    kind
        What is held out: ``"pair"`` (line, drug) pairs; ``"line"`` cell lines; ``"drug"`` drugs by structure;
        ``"disjoint"`` lines and drugs at once, pairs with one seen side being dropped; ``"tissue"`` whole tissues;
        ``"zeroing"`` sensitive pairs, with as many resistant ones drawn at random beside them (the random zeroing of
        Liu et al. 2024: folds are balanced, resistant pairs may be tested several times or never).
    n_folds
        Parts, each of which is tested once in a repeat. `None` tests each line, structure or tissue alone.
    n_repeats
        How often to divide anew.
    validation
        Share of the lines, drugs, pairs or tissues that are not tested, at least one.
    seed
        Seed of the first repeat; the next have ``seed + 1``, ….
    line_key
        Column of `obs` that names a line; the names of samples if omitted. Case and punctuation do not count.
    tissue_key
        Column of `obs` with the tissue, for ``"tissue"``; lines without one are not used.
    response_key
        Key of `obsm` with the responses.
    label_key
        Key of `obsm` with the labels, for ``"zeroing"``; see :func:`scdrug.pp.binarize_response`.

    Returns
    -------
    The folds.

    Raises
    ------
    KeyError
        If the reference lacks responses, structures or tissues that the split needs.
    ValueError
        If there are too few units for so many folds, or an argument is out of range.

    Examples
    --------
    >>> import scdrug
    >>> splits = scdrug.benchmark.make_splits(scdrug.datasets.toy(), "pair", seed=1)
    >>> len(splits)
    5
    """
    check_choice("kind", kind, KINDS)
    check_key(adata.obsm, response_key, where="adata.obsm", hint="scdrug.pp.build_reference makes a reference.")
    if not adata.obs_names.is_unique:
        raise ValueError("Names of lines must be unique. Call `adata.obs_names_make_unique()`, or average replicates.")
    if not 0 < validation < 1:
        raise ValueError(f"`validation` is a share between 0 and 1; found {validation}.")
    if n_repeats < 1:
        raise ValueError(f"`n_repeats` must be at least 1; found {n_repeats}.")
    axes = _axes(adata, kind, line_key=line_key, tissue_key=tissue_key, response_key=response_key)
    sensitive = _sensitive(adata, axes[0][1], label_key, response_key) if kind == "zeroing" else None
    counts = {axis: np.unique(groups[groups >= 0]).size for axis, _, groups in axes}
    if n_folds is None and kind in PAIRWISE:
        raise ValueError("Pairs cannot be tested one by one. Give `n_folds`.")
    folds = min(counts.values()) if n_folds is None else n_folds
    for axis, count in counts.items():
        what = "tissues" if kind == "tissue" else {"drug": "structures"}.get(axis, f"{axis}s")
        if not 2 <= folds <= count or (kind not in PAIRWISE and count < 3):
            raise ValueError(
                f"`n_folds` must lie between 2 and the number of {what}, {count}, of which three at least are needed "
                f"for training, validation and test; found {folds}."
            )
    tables = []
    for axis, members, groups in axes:
        table = members.assign(axis=axis)[MEMBERS]
        for repeat in range(n_repeats):
            parts = (
                _divide(groups, folds, validation, seed + repeat)
                if sensitive is None
                else _divide_balanced(groups, sensitive, folds, validation, seed + repeat)
            )
            for fold, roles in enumerate(parts):
                table[f"{repeat + 1}.{fold + 1}"] = roles
        tables.append(table)
    settings = {
        "n_folds": int(folds), "n_repeats": int(n_repeats), "validation": float(validation), "seed": int(seed),
        "line_key": line_key, **({"tissue_key": tissue_key} if kind == "tissue" else {}),
    }  # fmt: skip
    return Splits(kind, pd.concat(tables, ignore_index=True), settings)


def _axes(
    adata: AnnData, kind: str, *, line_key: str | None, tissue_key: str, response_key: str
) -> list[tuple[str, pd.DataFrame, np.ndarray]]:
    """What is divided: axis, its members, and the group of each member (−1 = not used)."""
    response = adata.obsm[response_key]
    lines, drugs = adata.obs_names.astype(str), response.columns.astype(str)
    line_table = pd.DataFrame({"line": lines, "drug": ""})
    if kind == "tissue":
        check_key(adata.obs, tissue_key, where="adata.obs", hint="Name the column of tissues with `tissue_key`.")
        return [("line", line_table, _tissue_groups(adata, tissue_key, line_key))]
    by_line = line_groups(adata, line_key)
    if kind == "line":
        return [("line", line_table, by_line)]
    by_drug = drug_groups(adata, drugs, need_structure=kind != "pair")
    drug_table = pd.DataFrame({"line": "", "drug": drugs})
    if kind == "drug":
        return [("drug", drug_table, by_drug)]
    if kind == "disjoint":
        return [("line", line_table, by_line), ("drug", drug_table, by_drug)]
    rows, columns = np.nonzero(response.notna().to_numpy())
    members = pd.DataFrame({"line": lines[rows], "drug": drugs[columns]})
    return [("pair", members, by_line[rows].astype(np.int64) * (by_drug.max() + 1) + by_drug[columns])]


def _tissue_groups(adata: AnnData, tissue_key: str, line_key: str | None) -> np.ndarray:
    tissue = adata.obs[tissue_key].astype(str).str.strip()
    unknown = adata.obs[tissue_key].isna() | tissue.str.lower().isin(["", "nan", "unknown", "none"])
    groups = np.where(unknown, -1, pd.factorize(tissue, sort=True)[0])
    # a line that is annotated with two tissues would be on two sides
    by_line = line_groups(adata, line_key)
    several = pd.Series(groups).groupby(by_line).transform("nunique").to_numpy() > 1
    return np.where(several, -1, groups)


def _divide(groups: np.ndarray, n_folds: int, validation: float, seed: int) -> Iterator[np.ndarray]:
    """Roles of all members, fold by fold; groups are divided, never members."""
    from sklearn.model_selection import KFold

    used = np.unique(groups[groups >= 0])
    place = np.searchsorted(used, groups).clip(max=len(used) - 1)
    parts = KFold(n_folds, shuffle=True, random_state=seed).split(used)
    for fold, (rest, test) in enumerate(parts):
        role = np.full(len(used), "train", dtype=object)
        role[test] = "test"
        n_validation = max(1, round(validation * len(rest)))
        role[np.random.default_rng([seed, fold]).choice(rest, n_validation, replace=False)] = "validation"
        yield np.where(groups >= 0, role[place], "unused")


def _sensitive(adata: AnnData, members: pd.DataFrame, label_key: str, response_key: str) -> np.ndarray:
    """Label of each member: 1 sensitive, 0 resistant, NaN unknown."""
    check_key(
        adata.obsm, label_key, where="adata.obsm", hint="scdrug.pp.binarize_response makes labels of the responses."
    )
    response = adata.obsm[response_key]
    labels = adata.obsm[label_key].reindex(columns=response.columns).to_numpy(dtype=float)
    rows = adata.obs_names.astype(str).get_indexer(members["line"])
    values = labels[rows, response.columns.astype(str).get_indexer(members["drug"])]
    if not (values == 1).any() or not (values == 0).any():
        raise ValueError(f"`adata.obsm[{label_key!r}]` must hold both labels, 1 sensitive and 0 resistant.")
    return values


def _divide_balanced(
    groups: np.ndarray, sensitive: np.ndarray, n_folds: int, validation: float, seed: int
) -> Iterator[np.ndarray]:
    """Roles of pairs: parts of the sensitive ones, and as many resistant ones drawn for each part."""
    from sklearn.model_selection import KFold

    # replicates of a pair share its label: sensitive if one of them is
    label = pd.Series(sensitive).groupby(groups).transform("max").to_numpy()
    positive, negative = np.unique(groups[label == 1]), np.unique(groups[label == 0])
    if len(positive) < n_folds:
        raise ValueError(f"`n_folds` must not exceed the number of sensitive pairs, {len(positive)}; found {n_folds}.")
    for fold, (rest, test) in enumerate(KFold(n_folds, shuffle=True, random_state=seed).split(positive)):
        rng = np.random.default_rng([seed, fold])
        n_validation = max(1, round(validation * len(rest)))
        drawn = rng.permutation(negative)[: len(test) + n_validation]
        n_test = min(len(test), len(drawn) - 1)
        held = rng.permutation(positive[rest])[:n_validation]
        role = np.where(np.isnan(label), "unused", "train").astype(object)
        role[np.isin(groups, np.concatenate([held, drawn[n_test:]]))] = "validation"
        role[np.isin(groups, np.concatenate([positive[test], drawn[:n_test]]))] = "test"
        yield role
