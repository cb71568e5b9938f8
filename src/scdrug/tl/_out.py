"""Predictions chunk by chunk in a zarr store: a run that was stopped goes on, and the store is whole or not there.

Everything is made in a folder beside the store, ``cells.zarr.part``: settings of the run, the fitted map, predictions, and a mark
for each stretch of rows that is done. When all are, the results take their place, and the report in ``uns``, without which nothing
reads them, comes last.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._constants import derived_keys, evidence_key
from .._elements import add_column, add_element, consolidate, has_names, is_consolidated, open_results, write_quietly
from .._lazy import in_memory
from .._own_files import foreign_files
from .._store import with_list
from .._validate import examples
from ..model._results import prediction_places, reserve_predictions
from ..pp._harmonization_files import HARMONIZATION_FILES, read_harmonization, write_harmonization
from ..pp._passes import by_stretches, rows_of_stretch
from ._predict_rows import PredictedRows, PredictRows, evidence_of
from ._run_settings import other_settings

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._data import Calibration
    from ..pp._harmonization import Harmonization
    from ..pp._place import Placed
    from ..pp._profile import ReferenceProfile
    from ._cell_evidence import CellEvidence

logger = logging.getLogger(__name__)

#: Rows and drugs of a chunk, about: a worker writes whole rows of chunks, and a reader wants few drugs of all cells.
_ROWS, _DRUGS = 65_536, 4
_RUN, _STORE, _SEEN, _DONE, _MOVING = "run.json", "results.zarr", "seen.zarr", "done", "moving"
#: What the folder of a run holds.
_OWN = (_RUN, f"{_RUN}.new", f"{_DONE}/*", _MOVING, *HARMONIZATION_FILES) + tuple(
    f"{store}{'/*' * depth}" for store in (_STORE, _SEEN) for depth in range(1, 9)
)


@dataclass(frozen=True)
class Percentiles:
    """Turns responses into percentiles where they are written."""

    calibration: Calibration
    columns: np.ndarray
    lower_is_sensitive: bool

    def __call__(self, response: np.ndarray) -> np.ndarray:
        return self.calibration.percentile(response, self.columns, lower_is_sensitive=self.lower_is_sensitive)


@dataclass(frozen=True)
class WriteRows:
    """Writes what was predicted of a stretch of rows, here or on a worker, and marks it as done."""

    folder: str
    key: str
    percentile_key: str
    percentiles: Percentiles | None

    def __call__(self, rows: slice, part: PredictedRows) -> None:
        import zarr

        folder = Path(self.folder)
        if not (folder / _RUN).is_file():  # zarr would make a store of its own where it finds none
            raise FileNotFoundError(
                f"A worker does not see {folder}. `out` must lie on a disk that all workers share, under the same path."
            )
        obsm = zarr.open_group(folder / _STORE, mode="r+", use_consolidated=False)["obsm"]
        tables = {self.key: part.values}
        if self.percentiles is not None:
            tables[self.percentile_key] = self.percentiles(part.values)
        for key, values in tables.items():
            obsm[key][rows] = values.astype(obsm[key].dtype, copy=False)
        zarr.open_array(folder / _SEEN, mode="r+")[:, rows] = part.seen
        (folder / _DONE / str(rows.start)).touch()


class ResultsOnDisk:
    """A run of predictions that are written to a zarr store.

    Parameters
    ----------
    out
        The store.
    adata
        Cells that are predicted.
    key
        Key of the predictions.
    """

    def __init__(self, out: str | os.PathLike[str], adata: AnnData, key: str) -> None:
        self.out, self._adata, self.key = Path(out), adata, key
        self.part = self.out.with_name(f"{self.out.name}.part")
        self._rows = 0
        self._check_target()

    # ------------------------------------------------------------------ before

    def _check_target(self) -> None:
        out, folder = self.out, self.out.absolute().parent
        if out.suffix.lower() != ".zarr":
            raise ValueError(f"`out` must name a zarr store, such as 'cells.zarr'; found {str(out)!r}.")
        if not folder.is_dir():
            raise FileNotFoundError(f"The folder {folder} of `out` does not exist. Create it first.")
        for place in (folder, out):
            if place.exists() and not os.access(place, os.W_OK):
                raise PermissionError(
                    f"Cannot write to {place}: `out` needs a place that may be written. Choose another."
                )
        if not os.path.lexists(out) or (self.part / _MOVING).exists():
            return
        group = _open(out)
        if group is None or not has_names(group, "obs", self._adata.obs_names):
            raise FileExistsError(
                f"{out} exists and holds {'no AnnData' if group is None or 'obs' not in group else 'other cells'}. Results are added to "
                "the store of the very cells that are predicted, and to no other: choose another `out`, or remove it first."
            )
        _reserve(group, self.key)

    def start(self, settings: Mapping[str, Any], n_drugs: int, *, rows: int, dtype: str, percentiles: bool) -> None:
        """Begin, or go on with a run of the same settings.

        Raises
        ------
        ValueError
            If an unfinished run of other settings, or of other cells, stands in the way.
        OSError
            If the disk is too small.
        """
        self._keys = [self.key, *([derived_keys(self.key)[0]] if percentiles else [])]
        if self._may_go_on:
            stored = json.loads((self.part / _RUN).read_text(encoding="utf-8"))
            self._compare(stored["settings"], settings)
            self._rows = int(stored["rows"])
            return
        if self.part.exists():
            shutil.rmtree(self.part)
        n_cells = self._adata.n_obs
        needed = n_cells * (len(self._keys) * n_drugs * np.dtype(dtype).itemsize + 64)
        free = shutil.disk_usage(self.out.absolute().parent).free
        if needed > free:
            raise OSError(
                errno.ENOSPC,
                f"The results need about {needed / 1e9:,.1f} GB, but the disk of {self.out} has {free / 1e9:,.1f} GB left. Choose another "
                "`out`, fewer drugs, `dtype='float16'` or `percentiles=False`.",
            )
        self._rows = min(rows, n_cells)
        self._make(n_drugs, dtype)
        told = {"settings": dict(settings), "rows": self._rows}
        (self.part / f"{_RUN}.new").write_text(json.dumps(told), encoding="utf-8")
        (self.part / f"{_RUN}.new").replace(self.part / _RUN)

    @property
    def _may_go_on(self) -> bool:
        """Whether there is a run that can go on, rather than nothing, or what is left of one.

        Raises
        ------
        FileExistsError
            If its folder holds other things.
        """
        foreign = foreign_files(self.part, _OWN) if self.part.exists() else []
        if foreign:
            raise FileExistsError(
                f"{self.part}, where results are made before they take their place, holds other things: {examples(foreign, 3)}. Choose "
                "another `out`, or move them."
            )
        store = self.part / _STORE
        return (self.part / _RUN).is_file() and store.exists() and (self.out.exists() or (store / "obs").exists())

    def _compare(self, stored: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        other = other_settings(stored, json.loads(json.dumps(dict(settings))))
        if other:
            raise ValueError(
                f"{self.part} holds a run that did not end, with other values of {examples(other)}. Call with the same cells, model and "
                "arguments to go on with it, or remove that folder to begin anew."
            )
        logger.info("Going on with the run in %s", self.part)

    def _make(self, n_drugs: int, dtype: str) -> None:
        import zarr

        adata, n_cells = self._adata, self._adata.n_obs
        (self.part / _DONE).mkdir(parents=True)
        there = _open(self.out) if self.out.exists() else None
        version = 3 if there is None else there.metadata.zarr_format
        store = zarr.open_group(self.part / _STORE, mode="w", zarr_format=version)
        if there is None:
            store.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            for slot in ("obs", "var"):
                write_quietly(store, slot, in_memory(getattr(adata, slot)))
        for slot in ("obsm", "layers", "obsp", "varm", "varp", "uns"):
            write_quietly(store, slot, {})
        if there is None:
            for key in adata.obsm:
                if key not in {place[1] for place in prediction_places(self.key)} and np.ndim(adata.obsm[key]) == 2:
                    write_quietly(store["obsm"], key, adata.obsm[key])
        chunks = (self._rows, min(_DRUGS, n_drugs))
        for key in self._keys:
            array = store["obsm"].create_array(
                key, shape=(n_cells, n_drugs), dtype=dtype, chunks=chunks, fill_value=np.nan
            )
            array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        zarr.create_array(
            self.part / _SEEN, shape=(4, n_cells), dtype="float32", chunks=(4, self._rows), fill_value=np.nan
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep another run from writing to the same store, and say of one that is stopped that it can go on."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.part.with_name(f"{self.part.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(f"Another run is writing to {self.out}. Wait for it, or choose another `out`.") from None
        try:
            yield
        except BaseException as error:
            done = sum(1 for _ in (self.part / _DONE).glob("*"))
            if self._rows and done:
                n_done = min(done * self._rows, self._adata.n_obs)
                error.add_note(
                    f"{n_done:,} of {self._adata.n_obs:,} cells are done: the same call goes on from there. They lie in {self.part}."
                )
            raise
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    # ------------------------------------------------------------------ between

    def read_fit(self, profile: ReferenceProfile) -> Harmonization | None:
        """The map that the run fitted before it was stopped."""
        return read_harmonization(self.part, profile)

    def keep_fit(self, fitted: Harmonization) -> None:
        """Keep the map, so that a run that goes on need not fit it."""
        write_harmonization(fitted, self.part)

    def predict(self, placed: Placed, work: PredictRows, percentiles: Percentiles | None) -> CellEvidence:
        """Predict and write what was not done yet; returns what was seen of the cells."""
        import zarr

        marks = self.part / _DONE
        write = WriteRows(str(self.part.absolute()), self.key, derived_keys(self.key)[0], percentiles)
        fitted = placed.harmonization
        for _ in by_stretches(
            placed.adata,
            work,
            write,
            rows=self._rows,
            skip=lambda rows: (marks / str(rows.start)).exists(),
            layer=fitted.layer,
            chunk_size=placed.chunk_size,
            check=fitted.check_again,
            what="Predicting",
        ):
            pass
        return evidence_of(zarr.open_array(self.part / _SEEN, mode="r")[:])

    # ------------------------------------------------------------------ after

    def finish(
        self, reliability: np.ndarray, evidence: Mapping[str, np.ndarray], report: Mapping[str, Any]
    ) -> dict[tuple[str, str], Any]:
        """Put results in place, whole; returns them by place, large tables as what is read when asked for."""
        names, kept = list(evidence), [*self._keys, evidence_key(self.key)]
        places = [place for place in prediction_places(self.key) if place[0] != "obsm" or place[1] in kept]
        report = with_list({**report, "evidence_columns": np.array(names, dtype=object)}, places)
        store = _open(self.part / _STORE)
        table = np.column_stack([np.asarray(evidence[name], dtype=np.float32) for name in names])
        add_element(store, "obsm", evidence_key(self.key), table)
        if not self.out.exists() and "obs" in store:
            add_column(store, derived_keys(self.key)[1], reliability)
            add_element(store, "uns", self.key, report)
            consolidate(self.part / _STORE)
            (self.part / _STORE).rename(self.out)
        else:
            self._move_in(kept, reliability, report)
        shutil.rmtree(self.part)
        group = _open(self.out)
        values: dict[tuple[str, str], Any] = {
            place: open_results(group, place[1]) if place[1] in kept else None
            for place in prediction_places(self.key)
            if place[0] == "obsm"
        }
        return {**values, ("obs", derived_keys(self.key)[1]): reliability, ("uns", self.key): report}

    def _move_in(self, kept: list[str], reliability: np.ndarray, report: Mapping[str, Any]) -> None:
        """Into a store that is there: what says what the results are goes first and comes back last."""
        (self.part / _MOVING).touch()
        group, listed = _open(self.out), is_consolidated(self.out)
        if "uns" in group and self.key in group["uns"]:
            del group["uns"][self.key]
        if "obsm" not in group:
            write_quietly(group, "obsm", {})
        for part, key in prediction_places(self.key):
            made, there = (root / "obsm" / key for root in (self.part / _STORE, self.out))
            if part != "obsm" or (key in kept and not made.exists()):  # a run that was killed here moved it
                continue
            shutil.rmtree(there, ignore_errors=True)
            if key in kept:
                made.rename(there)
        if not add_column(group, derived_keys(self.key)[1], reliability):
            raise ValueError(
                f"{self.out} holds `obs` in a form of anndata before 0.7. Write the store anew with anndata first."
            )
        add_element(group, "uns", self.key, report)
        if listed:
            consolidate(self.out)


def stretch_rows(adata: AnnData, layer: str | None) -> int:
    """Rows of a stretch, and of a chunk of the results."""
    return rows_of_stretch(adata, layer, _ROWS)


def _open(path: Path) -> Any:
    """Group of an AnnData in zarr, to be written; `None` if there is none."""
    import zarr

    try:
        return zarr.open_group(path, mode="r+", use_consolidated=False)
    except (FileNotFoundError, ValueError, OSError, KeyError):
        return None


def _reserve(group: Any, key: str) -> None:
    """Raise unless the places of the results in a store are free, or hold earlier ones."""
    from anndata.io import read_elem

    uns = group.get("uns")
    obs = SimpleNamespace(
        index=SimpleNamespace(name=None),
        keys=lambda: [str(name) for name in group["obs"].attrs.get("column-order", ())],
    )
    held = SimpleNamespace(
        obs=obs,
        obsm=dict.fromkeys(group["obsm"]) if "obsm" in group else {},
        uns={key: read_elem(uns[key])} if uns is not None and key in uns else {},
    )
    reserve_predictions(held, key)
