"""Train, validation and test: who may be seen when, as plain tables."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from .._validate import check_choice, check_key, examples
from ._files import write_atomically
from ._identity import drug_groups, line_groups

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("pair", "line", "drug", "disjoint", "tissue", "zeroing")
SplitKind = Literal["pair", "line", "drug", "disjoint", "tissue", "zeroing"]

#: Roles of a (line, drug) pair in one fold. MIXED pairs join a training and a validation unit: seen only in a refit.
UNUSED, TRAIN, VALIDATION, TEST, MIXED = 0, 1, 2, 3, 4
_NAMES = {"unused": UNUSED, "train": TRAIN, "validation": VALIDATION, "test": TEST}
#: Kinds whose table has a row for each pair.
PAIRWISE = ("pair", "zeroing")
_MEMBERS = ["axis", "line", "drug"]
_HEADER = "# scdrug splits "


@dataclass(frozen=True)
class Splits:
    """Folds of one kind of split.

    Parameters
    ----------
    kind
        ``"pair"``, ``"line"``, ``"drug"``, ``"disjoint"``, ``"tissue"`` or ``"zeroing"``.
    table
        A row for each line, drug or measured pair that was divided: `axis` (``"line"``, ``"drug"`` or ``"pair"``),
        `line`, `drug` (empty where it does not apply), and a column for each fold, named ``repeat.fold``, with
        ``"train"``, ``"validation"``, ``"test"`` or ``"unused"``.
    settings
        How the table was made: folds, repeats, share of validation, seed.

    Examples
    --------
    >>> import scdrug
    >>> splits = scdrug.benchmark.make_splits(scdrug.datasets.toy(), "line", n_folds=3)
    >>> splits.folds
    ['1.1', '1.2', '1.3']
    >>> splits.table["1.1"].value_counts().to_dict()
    {'train': 72, 'test': 40, 'validation': 8}
    """

    kind: str
    table: pd.DataFrame
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        missing = [column for column in _MEMBERS if column not in self.table.columns]
        if missing or not self.folds:
            raise ValueError(
                f"A table of splits needs the columns {_MEMBERS} and one for each fold; found {list(self.table.columns)}."
            )
        for fold in self.folds:
            unknown = set(pd.unique(self.table[fold])) - set(_NAMES)
            if unknown:
                raise ValueError(f"Fold {fold!r} holds the roles {examples(unknown)}; known are {list(_NAMES)}.")

    @property
    def folds(self) -> list[str]:
        """Names of the folds, ``repeat.fold``, both counted from one."""
        return [column for column in self.table.columns if column not in _MEMBERS]

    def __len__(self) -> int:
        return len(self.folds)

    def __iter__(self) -> Iterator[str]:
        return iter(self.folds)

    @property
    def test_fraction(self) -> float:
        """Share of the divided units that a fold tests."""
        return float(np.mean([(self.table[fold] == "test").mean() for fold in self.folds]))

    def roles(self, fold: str, adata: AnnData, *, response_key: str = "response") -> np.ndarray:
        """Role of each pair in a fold.

        Parameters
        ----------
        fold
            Name of the fold, e.g. ``"1.1"``.
        adata
            Reference whose lines and drugs give the order.
        response_key
            Key of `obsm` with the responses.

        Returns
        -------
        Lines × drugs, int8: 0 unused, 1 train, 2 validation, 3 test, 4 between training and validation units.

        Raises
        ------
        KeyError
            If there is no such fold, or the table has lines or drugs that `adata` does not have, or lacks some.
        """
        check_key(self.table, fold, where="splits.table")
        lines, drugs = adata.obs_names.astype(str), adata.obsm[response_key].columns.astype(str)
        codes = self.table[fold].map(_NAMES).to_numpy(dtype=np.int8)
        if self.kind in PAIRWISE:
            rows = _positions(self.table["line"], lines, "lines")
            columns = _positions(self.table["drug"], drugs, "drugs")
            matrix = np.zeros((len(lines), len(drugs)), dtype=np.int8)
            matrix[rows, columns] = codes
            return matrix
        line_roles = self._axis_roles("line", lines, codes)
        drug_roles = self._axis_roles("drug", drugs, codes)
        if drug_roles is None:
            assert line_roles is not None
            return np.tile(line_roles[:, None], (1, len(drugs)))
        if line_roles is None:
            return np.tile(drug_roles[None, :], (len(lines), 1))
        return _cross(line_roles, drug_roles)

    def _axis_roles(self, axis: str, names: pd.Index, codes: np.ndarray) -> np.ndarray | None:
        chosen = (self.table["axis"] == axis).to_numpy()
        if not chosen.any():
            return None
        roles = np.full(len(names), -1, dtype=np.int8)
        roles[_positions(self.table.loc[chosen, axis], names, f"{axis}s")] = codes[chosen]
        if (roles < 0).any():
            raise KeyError(
                f"The splits do not say what {examples(names[roles < 0])} are for ({int((roles < 0).sum())} {axis}s of "
                "the reference are not in the table). Make the splits again for this reference."
            )
        return roles

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as CSV, compressed if the name ends in ``.gz``; the first line holds kind and settings.

        Parameters
        ----------
        path
            File to write; replaced in one step if it exists.

        Returns
        -------
        The path.
        """
        header = _HEADER + json.dumps({"format": 1, "kind": self.kind, **self.settings}, sort_keys=True)
        text = header + "\n" + self.table.to_csv(index=False, lineterminator="\n")
        content = text.encode()
        # no time stamp, so that the same splits give the same file
        write_atomically(path, gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)
        return Path(path)


def read_splits(path: str | os.PathLike[str]) -> Splits:
    """Read what :meth:`Splits.save` wrote.

    Parameters
    ----------
    path
        File, ``.csv`` or ``.csv.gz``.

    Returns
    -------
    The splits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a table of splits.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file of splits at {path}. Splits.save writes one.")
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table of splits ({error}). Save the splits again.") from error
    header, _, body = text.partition("\n")
    if not header.startswith(_HEADER):
        raise ValueError(f"{path} is not a table of splits: its first line must start with {_HEADER.strip()!r}.")
    settings = json.loads(header.removeprefix(_HEADER))
    if settings.pop("format", None) != 1:
        raise ValueError(f"{path} was written by another version of scdrug. Make the splits again.")
    kind = settings.pop("kind")
    return Splits(kind, pd.read_csv(StringIO(body), dtype=str, keep_default_na=False), settings)


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
        table = members.assign(axis=axis)[_MEMBERS]
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


def _cross(lines: np.ndarray, drugs: np.ndarray) -> np.ndarray:
    """Roles of pairs where lines and drugs are divided: a pair counts if both sides agree."""
    line, drug = lines[:, None], drugs[None, :]
    matrix = np.where(line == drug, line, UNUSED)
    seen = np.isin(line, (TRAIN, VALIDATION)) & np.isin(drug, (TRAIN, VALIDATION))
    return np.where(seen & (line != drug), MIXED, matrix).astype(np.int8)


def _positions(names: pd.Series, index: pd.Index, what: str) -> np.ndarray:
    positions = index.get_indexer(names)
    if (positions < 0).any():
        unknown = pd.unique(names[positions < 0])
        raise KeyError(
            f"The splits name {len(unknown)} {what} that the reference does not have, such as {examples(unknown)}. "
            "They belong to another reference: make the splits again for this one."
        )
    return positions
