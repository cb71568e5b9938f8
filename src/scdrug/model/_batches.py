"""What a network is trained on: responses split into training and validation, and minibatches of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .._validate import examples


class Batches(Protocol):
    """Minibatches of one epoch, as dictionaries of tensors; iterating again gives the next epoch."""

    def __len__(self) -> int:
        """Number of minibatches."""
        ...

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the minibatches."""
        ...


@runtime_checkable
class ResumableBatches(Batches, Protocol):
    """Batches that remember something from one epoch to the next, beside the generator that orders them."""

    def get_state(self) -> dict[str, Any]:
        """What is remembered, in tensors and numbers."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`get_state` returned."""
        ...


class TableBatches:
    """Rows of tensors in minibatches of nearly equal size.

    No batch is much smaller than the others, so that batch norm never sees a single row.

    Parameters
    ----------
    tensors
        Tensors by name, with equal numbers of rows; rows of all of them stay together.
    batch_size
        Largest number of rows per batch.
    generator
        Shuffles the rows anew for each epoch; their order is kept if omitted.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], batch_size: int, *, generator: torch.Generator | None = None
    ) -> None:
        sizes = {len(tensor) for tensor in tensors.values()}
        if len(sizes) != 1 or batch_size < 1:
            raise ValueError(f"Batches need tensors of equal length and a positive size; found {sizes}, {batch_size}.")
        self.tensors, self.generator = dict(tensors), generator
        self.n_rows = sizes.pop()
        self._n_batches = max(-(-self.n_rows // batch_size), 1)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self.generator is None:
            order = torch.arange(self.n_rows)
        else:
            order = torch.randperm(self.n_rows, generator=self.generator)
        for rows in torch.tensor_split(order, self._n_batches):
            yield {name: tensor[rows] for name, tensor in self.tensors.items()}


@dataclass(frozen=True)
class TrainingTask:
    """Lines with responses, of which some are held out of the loss to decide when to stop."""

    #: Lines × genes, float32, on the reference's scale.
    expression: np.ndarray
    #: Lines × drugs, float64, NaN = not measured.
    response: np.ndarray
    #: Lines × drugs, true where a measured response is held out.
    validation: np.ndarray
    #: Names of the lines.
    lines: np.ndarray
    #: Lines × drugs, true where a held-out response does not decide when to stop either, but how much the network counts.
    reserved: np.ndarray | None = None

    @cached_property
    def train_response(self) -> np.ndarray:
        """Responses that may enter the loss and anything fitted (lines × drugs, NaN elsewhere)."""
        return np.where(self.validation, np.nan, self.response)

    @cached_property
    def validation_response(self) -> np.ndarray:
        """Responses that decide when to stop (lines × drugs, NaN elsewhere)."""
        return np.where(self._stops, self.response, np.nan)

    @cached_property
    def reserved_response(self) -> np.ndarray:
        """Responses that decide how much the network counts (lines × drugs, NaN elsewhere)."""
        return np.where(self.validation & ~self._stops, self.response, np.nan)

    @cached_property
    def train_rows(self) -> np.ndarray:
        """Positions of lines with a response to train on."""
        return np.flatnonzero(np.isfinite(self.train_response).any(axis=1))

    @cached_property
    def validation_rows(self) -> np.ndarray:
        """Positions of lines with a response that decides when to stop."""
        return np.flatnonzero(self._stops.any(axis=1))

    @property
    def has_validation(self) -> bool:
        """Whether any response decides when to stop."""
        return bool(self._stops.any())

    @cached_property
    def _stops(self) -> np.ndarray:
        return self.validation if self.reserved is None else self.validation & ~self.reserved


def hold_out(
    response: pd.DataFrame,
    validation: float | pd.DataFrame | None,
    *,
    pairs: bool = False,
    new_drugs: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Choose the responses that decide when to stop.

    Parameters
    ----------
    response
        Lines × drug ids, NaN = not measured.
    validation
        Share of lines to draw (of pairs if `pairs`), between 0 and 1; or a boolean DataFrame of lines × drug ids, joined by
        name, true where a response is held out; `None` holds nothing out.
    pairs
        Draw single responses instead of whole lines.
    new_drugs
        Whether a table may hold out all responses of a drug, for models that learn from structures.
    seed
        Seed of the draw.

    Returns
    -------
    Lines × drugs, true where a measured response is held out. A draw never takes all responses of a drug.

    Raises
    ------
    ValueError, TypeError, KeyError
        If a share is out of range, a table is not boolean, holds unknown names, marks no measured response, or leaves a
        drug without any, unless `new_drugs`.
    """
    measured = response.notna().to_numpy()
    if validation is None:
        return np.zeros(measured.shape, dtype=bool)
    if isinstance(validation, pd.DataFrame):
        _check_table(response, validation, new_drugs=new_drugs)
        return _join(response, validation) & measured
    if isinstance(validation, bool) or not isinstance(validation, int | float) or not 0 <= validation < 1:
        raise ValueError(
            "`validation` must be a share of at least 0 and less than 1, or a boolean DataFrame of lines × drug ids; "
            f"found {validation!r}."
        )
    rng = np.random.default_rng([seed, 1])
    marked = np.zeros(measured.shape, dtype=bool)
    if pairs:
        candidates = np.flatnonzero(measured)
        marked.flat[rng.permutation(candidates)[: round(validation * len(candidates))]] = True
    else:
        candidates = np.flatnonzero(measured.any(axis=1))
        n = min(max(round(validation * len(candidates)), int(validation > 0)), len(candidates) - 1)
        marked[rng.permutation(candidates)[: max(n, 0)]] = True
    marked &= measured
    emptied = measured.any(axis=0) & ~(measured & ~marked).any(axis=0)
    marked[:, emptied] = False
    return marked


def _check_table(response: pd.DataFrame, validation: pd.DataFrame, *, new_drugs: bool) -> None:
    """Raise unless a table of validation responses fits the responses."""
    if not all(pd.api.types.is_bool_dtype(dtype) for dtype in validation.dtypes):
        raise TypeError(
            "`validation` must be a boolean DataFrame (true = held out of the loss); "
            f"found columns of type {examples(sorted({str(dtype) for dtype in validation.dtypes}))}."
        )
    for what, ours, theirs in (
        ("lines", response.index, validation.index),
        ("drugs", response.columns, validation.columns),
    ):
        if theirs.has_duplicates:
            raise ValueError(f"`validation` names {what} twice: {examples(theirs[theirs.duplicated()])}.")
        unknown = theirs.astype(str).difference(ours.astype(str))
        if len(unknown):
            raise KeyError(
                f"`validation` has {len(unknown)} {what} that the reference lacks, such as {examples(unknown, 3)}. "
                f"Its {what} are named like {examples(ours, 3)}."
            )
    measured = response.notna().to_numpy()
    marked = _join(response, validation) & measured
    if not marked.any():
        raise ValueError("`validation` marks no measured response. Mark some, or pass a share such as 0.1.")
    emptied = response.columns[measured.any(axis=0) & ~(measured & ~marked).any(axis=0)]
    if len(emptied) and not (new_drugs and len(emptied) < measured.any(axis=0).sum()):
        raise ValueError(
            f"`validation` leaves {len(emptied)} drugs without a response to train on: {examples(emptied)}. "
            "Drop these drugs from the reference, or mark fewer lines."
        )


def _join(response: pd.DataFrame, validation: pd.DataFrame) -> np.ndarray:
    named = validation.set_axis(validation.index.astype(str)).set_axis(validation.columns.astype(str), axis=1)
    rows = named.index.get_indexer(response.index.astype(str))
    columns = named.columns.get_indexer(response.columns.astype(str))
    padded = np.zeros((len(named) + 1, named.shape[1] + 1), dtype=bool)  # names that are not there read the last row
    padded[:-1, :-1] = named.to_numpy(dtype=bool)
    return padded[np.ix_(rows, columns)]
