"""A folder of results: one file a finished fold, so that a killed run loses nothing that was finished."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._own_files import CHECKPOINT_FILES, foreign_files, remove_own, remove_stale, write_atomically
from .._validate import examples
from ._config_types import check_types

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = 1
MANIFEST = "benchmark.json"
#: Scores by other screens.
SCREENS_FILE = "screens.csv"
SCREEN_COLUMNS = (
    "split", "model", "screen", "metric", "value", "value_sd", "measured", "measured_sd", "share", "low", "high", "n_lines",
    "n_drugs", "n_pairs", "n_folds",
)  # fmt: skip
#: What a benchmark and its report write.
_WRITTEN = (
    MANIFEST, SCREENS_FILE, "splits/*.csv.gz", "folds/*/*/*.npz", *(f"folds/*/*/*.training/{name}" for name in CHECKPOINT_FILES), "single_cell/*/*.csv", "single_cell/*/*.json",
    *(f"report/{name}" for name in ("report.html", "report.md", "scores.csv", "per_drug.csv", "screens.csv", "single_cell.csv", "figures/*.png")),
)  # fmt: skip
#: Part files of :func:`write_atomically`.
_PARTS = tuple(re.sub(r"([^/]+)$", r".\1-????????", pattern) for pattern in _WRITTEN)
#: What others read of the manifest.
_MANIFEST_TYPES = {
    "name": str, "data": dict, "splits": dict[str, dict], "models": dict[str, dict], "labels": dict | None,
    "search": dict | None, "seed": int, "versions": dict[str, str],
}  # fmt: skip
#: Packages whose versions may change a number.
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "anndata", "torch", "scvi-tools", "rdkit")


@dataclass(frozen=True)
class FoldFile:
    """Content of one file: predictions of the test pairs of a fold, and how they came about."""

    lines: np.ndarray
    drugs: np.ndarray
    #: Position of each test pair.
    row: np.ndarray
    column: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    #: Mean training response of each drug; of all drugs for one that was not in training.
    drug_mean: np.ndarray
    meta: dict[str, Any]

    def check(self) -> None:
        """Raise unless all pairs are pairs of the lines and drugs."""
        for name, positions, n in (("row", self.row, len(self.lines)), ("column", self.column, len(self.drugs))):
            if positions.dtype.kind not in "iu" or not ((positions >= 0) & (positions < n)).all():
                raise ValueError(f"`{name}` must hold positions among {n}")
        if len({len(self.row), len(self.column), len(self.predicted), len(self.observed)}) > 1:
            raise ValueError("pairs differ in number")
        if len(self.drug_mean) != len(self.drugs) or not isinstance(self.meta, dict):
            raise ValueError("`drug_mean` or `meta` is not as it must be")

    def to_frame(self) -> pd.DataFrame:
        """One row a test pair: line, drug, predicted, observed."""
        return pd.DataFrame(
            {
                "line": self.lines[self.row],
                "drug": self.drugs[self.column],
                "predicted": self.predicted,
                "observed": self.observed,
            }
        )

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and observed, lines × drugs, NaN where not tested."""
        shape = len(self.lines), len(self.drugs)
        predicted, observed = np.full(shape, np.nan), np.full(shape, np.nan)
        predicted[self.row, self.column], observed[self.row, self.column] = self.predicted, self.observed
        return predicted, observed


class Store:
    """Reads and writes a folder of results.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    # ------------------------------------------------------------------ manifest

    def read_manifest(self) -> dict[str, Any]:
        """Read what the folder says of itself.

        Raises
        ------
        FileNotFoundError
            If there is no folder of results.
        ValueError
            If it is damaged or from another version.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            what = "is not a folder of benchmark results" if self.folder.is_dir() else "does not exist"
            raise FileNotFoundError(f"{self.folder} {what}: {MANIFEST} is missing. `scdrug benchmark run` writes one.")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}). Run the benchmark again into another folder."
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
            raise ValueError(
                f"{path} has format {found!r}; this version of scdrug reads format {FORMAT}. Run the benchmark again."
            )
        missing = [key for key in _MANIFEST_TYPES if key not in manifest]
        if missing:
            raise ValueError(f"{path} is damaged: it lacks {examples(missing)}. Run the benchmark again.")
        check_types(manifest, str(path), **_MANIFEST_TYPES)
        return manifest

    def open(self, manifest: dict[str, Any], *, overwrite: bool) -> dict[str, Any]:
        """Start a folder, or go on with one of the same data, splits and models.

        Raises
        ------
        ValueError
            If the folder holds something else, or, with `overwrite`, files that no benchmark wrote.
        FileExistsError
            If there is a file of that name.
        """
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is a file, and results need a folder. Choose another name.")
        for pattern in _PARTS:
            remove_stale(self.folder, pattern)
        if overwrite and (self.folder / MANIFEST).is_file():
            self._clear()
        elif (self.folder / MANIFEST).is_file():
            manifest = merge(self.read_manifest(), manifest, self.folder)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} holds other files and no {MANIFEST}; results are not written among them. "
                "Choose another folder."
            )
        self.write_json(MANIFEST, manifest)
        return manifest

    def _clear(self) -> None:
        """Delete the results of an earlier run and nothing else; the manifest stays until a new one takes its place."""
        try:
            content = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = None
        foreign = foreign_files(self.folder, _WRITTEN + _PARTS)
        if not isinstance(content, dict) or "format" not in content:
            foreign.append(MANIFEST)
        if foreign:
            raise ValueError(
                f"{self.folder} holds files that no benchmark of scdrug wrote ({examples(foreign)}), and is not replaced. "
                "Move them away, or choose another folder."
            )
        remove_own(self.folder, _WRITTEN[1:] + _PARTS)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON in one step."""
        write_atomically(self.folder / name, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    # ------------------------------------------------------------------ folds

    def path(self, split: str, model: str, fold: str) -> Path:
        """File of a fold."""
        return self.folder / "folds" / split / model / f"{fold}.npz"

    def checkpoints(self, split: str, model: str, fold: str) -> Path:
        """Folder of the state of a fold's training, while it is not finished."""
        return self.folder / "folds" / split / model / f"{fold}.training"

    def write_fold(self, split: str, model: str, fold: str, content: FoldFile) -> None:
        """Write a finished fold in one step."""
        stream = BytesIO()
        np.savez_compressed(
            stream,
            lines=content.lines.astype(str),
            drugs=content.drugs.astype(str),
            row=content.row.astype(np.int32),
            column=content.column.astype(np.int32),
            predicted=content.predicted.astype(np.float32),
            observed=content.observed.astype(np.float32),
            drug_mean=content.drug_mean.astype(np.float32),
            meta=np.array(json.dumps(content.meta, sort_keys=True)),
        )
        write_atomically(self.path(split, model, fold), stream.getvalue())
        remove_own(self.checkpoints(split, model, fold), CHECKPOINT_FILES)
        with contextlib.suppress(OSError):  # there was none, or something else stands in it
            self.checkpoints(split, model, fold).rmdir()

    def read_fold(self, split: str, model: str, fold: str) -> FoldFile:
        """Read a finished fold.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        path = self.path(split, model, fold)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                values = {name: arrays[name] for name in arrays.files}
            fold = FoldFile(**{**values, "meta": json.loads(str(values["meta"]))})
            fold.check()
            return fold
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged ({error}). Delete it and run the benchmark again.") from error

    def finished(self, split: str, model: str) -> list[str]:
        """Names of the finished folds, in order."""
        folder = self.folder / "folds" / split / model
        names = [path.stem for path in folder.glob("*.npz") if not path.name.startswith(".")] if folder.is_dir() else []
        return sorted(names, key=lambda name: tuple(int(part) for part in name.split(".")))


def merge(old: dict[str, Any], new: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Manifest of a folder that more results are added to.

    Raises
    ------
    ValueError
        If both speak of other data, splits, labels or parameters.
    """
    advice = "Choose another folder, or `overwrite` to start anew."
    for key, what in (("data", "another reference"), ("labels", "other labels"), ("search", "another search")):
        if old.get(key) != new.get(key):
            raise ValueError(f"{folder} holds results of {what}. {advice}")
    if old.get("seed") != new.get("seed"):
        raise ValueError(f"{folder} holds results of seed {old.get('seed')}, not {new.get('seed')}. {advice}")
    for key, what in (("splits", "splits"), ("models", "parameters")):
        changed = [name for name in new[key] if name in old[key] and old[key][name] != new[key][name]]
        if changed:
            raise ValueError(f"{folder} holds results of other {what} for {examples(changed)}. {advice}")
    return {
        **old,
        **{key: {**old[key], **new[key]} for key in ("splits", "models")},
        "name": new["name"],
        "versions": {**old["versions"], **new["versions"]},
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages behind a number."""
    found = {"python": platform.python_version(), "platform": platform.system(), "scdrug": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def data_fingerprint(adata: AnnData, response_key: str) -> dict[str, Any]:
    """Size and hash of a reference: names, expression, responses and structures."""
    import scipy.sparse as sp

    response = adata.obsm[response_key]
    digest = hashlib.sha256()
    smiles = adata.uns.get("drugs", pd.DataFrame()).get("smiles")
    for names in (adata.obs_names, adata.var_names, response.columns, [] if smiles is None else smiles.astype(str)):
        digest.update("\n".join(map(str, names)).encode())
    matrix = adata.X.tocsr() if sp.issparse(adata.X) else np.ascontiguousarray(adata.X)
    for array in (matrix.data, matrix.indices, matrix.indptr) if sp.issparse(matrix) else (matrix,):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(response.to_numpy(dtype=np.float64)).tobytes())
    described = adata.uns.get("response", {})
    return {
        "sha256": digest.hexdigest(),
        "n_lines": int(adata.n_obs),
        "n_genes": int(adata.n_vars),
        "n_drugs": int(response.shape[1]),
        "n_pairs": int(response.notna().to_numpy().sum()),
        **{key: str(described[key]) for key in ("measure", "unit", "direction") if key in described},
    }


def table_fingerprint(table: pd.DataFrame) -> str:
    """Hash of a table of splits."""
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def jsonable(value: Mapping[str, Any] | None) -> Any:
    """The same in JSON types."""
    return None if value is None else json.loads(json.dumps(value, default=str))
