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

from .._arguments import checked
from .._own_files import write_atomically
from .._validate import check_choice, check_key, examples

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("pair", "line", "drug", "disjoint", "tissue", "zeroing")
SplitKind = Literal["pair", "line", "drug", "disjoint", "tissue", "zeroing"]

#: Roles of a (line, drug) pair in one fold. MIXED pairs join a training and a validation unit: seen only in a refit.
UNUSED, TRAIN, VALIDATION, TEST, MIXED = 0, 1, 2, 3, 4
_NAMES = {"unused": UNUSED, "train": TRAIN, "validation": VALIDATION, "test": TEST}
#: Kinds whose table has a row for each pair.
PAIRWISE = ("pair", "zeroing")
#: Columns of a table beside its folds.
MEMBERS = ["axis", "line", "drug"]
_HEADER = "# scdrug splits "


@checked
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
        missing = [column for column in MEMBERS if column not in self.table.columns]
        if missing or not self.folds:
            raise ValueError(
                f"A table of splits needs the columns {MEMBERS} and one for each fold; found {list(self.table.columns)}."
            )
        for fold in self.folds:
            unknown = set(pd.unique(self.table[fold])) - set(_NAMES)
            if unknown:
                raise ValueError(f"Fold {fold!r} holds the roles {examples(unknown)}; known are {list(_NAMES)}.")

    @property
    def folds(self) -> list[str]:
        """Names of the folds, ``repeat.fold``, both counted from one."""
        return [column for column in self.table.columns if column not in MEMBERS]

    def __len__(self) -> int:
        return len(self.folds)

    def __iter__(self) -> Iterator[str]:
        return iter(self.folds)

    @property
    def test_fraction(self) -> float:
        """Share of the divided units that a fold tests."""
        return float(np.mean([(self.table[fold] == "test").mean() for fold in self.folds]))

    @checked
    def first(self, n: int) -> Splits:
        """Only the first folds of each repeat, for models that take too long for all.

        Parameters
        ----------
        n
            How many folds of each repeat to keep.

        Raises
        ------
        ValueError
            If there are fewer.
        """
        kept = [fold for fold in self.folds if int(fold.split(".")[1]) <= n]
        repeats = {fold.split(".")[0] for fold in self.folds}
        if n < 1 or len(kept) != n * len(repeats):
            raise ValueError(f"`first` must lie between 1 and the folds of a repeat; found {n} for {self.folds}.")
        return Splits(self.kind, self.table[[*MEMBERS, *kept]], {**self.settings, "first": n})

    @checked
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

    @checked
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


@checked
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
