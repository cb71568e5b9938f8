"""What analyses of perturbed expression share: a model that can do it, samples on its scale, and conditions of drugs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._validate import check_key, examples
from ..pp._checks import check_cells
from ..pp._place import place_cells
from ._predict import resolve_model
from ._stored import read_parts, read_table

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A

#: Rows that are propagated at once.
_BLOCK = 512


def perturbing_model(model: str | os.PathLike[str] | CSG2A, *, pretrained: bool) -> CSG2A:
    """A trained model that predicts expression under treatment.

    Raises
    ------
    TypeError
        If it is of another class.
    RuntimeError
        If it was not trained, or, where that is needed, its core was not pretrained.
    """
    trained = resolve_model(model)
    if not hasattr(trained, "perturb"):
        raise TypeError(
            f"Expression under treatment needs a model of class CSG2A; found {type(trained).__name__}. Train one with "
            "scdrug.model.CSG2A."
        )
    if pretrained and not trained.is_pretrained:
        raise RuntimeError(
            "The core of this model has not seen perturbation data, so what it makes of expression is no prediction. "
            "Call model.pretrain(perturbations) before model.train(), or pass `core=` to CSG2A."
        )
    return trained  # type: ignore[return-value]


def structures_of(model: CSG2A, drugs: str | Sequence[str] | Mapping[str, str] | None) -> pd.DataFrame:
    """Table of drugs with a structure, by id.

    Raises
    ------
    KeyError
        If a drug is not known.
    ValueError
        If a drug has no structure.
    """
    chosen, ids, _ = model.select_drugs([drugs] if isinstance(drugs, str) else drugs)
    table = chosen.drugs.loc[ids]
    lacking = table.index[table["smiles"] == ""]
    if len(lacking) == len(table) or (drugs is not None and len(lacking)):
        raise ValueError(f"There is no structure of {examples(lacking)}. Pass a mapping of names to SMILES.")
    return table[table["smiles"] != ""]


def structure_of(model: CSG2A, drug: str | Mapping[str, str]) -> pd.DataFrame:
    """Row of one drug with a structure, by id.

    Raises
    ------
    KeyError, ValueError
        As :func:`structures_of`, or if the name stands for several drugs.
    """
    table = structures_of(model, drug)
    if len(table) != 1:
        raise ValueError(f"`drug` must name one drug; found {len(table)}.")
    return table


def reference_rows(
    adata: AnnData, model: CSG2A, *, layer: str | None, scale: str, method: str, anchor: str, min_coverage: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Samples on the scale of the model's reference, block by block (rows × genes of the reference).

    Raises
    ------
    ValueError
        If too few genes are measured or values are not finite.
    """
    check_cells(adata)
    placed = place_cells(
        adata, model.profile, method=method, anchor=anchor, scale=scale, layer=layer, min_coverage=min_coverage
    )
    for rows, block in placed.blocks(_BLOCK):
        yield rows, block.values


def stored(
    adata: AnnData,
    key: str,
    *,
    function: str,
    entries: Sequence[str] = (),
    tables: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """What a function of :mod:`scdrug.tl` stored in ``uns``.

    Parameters
    ----------
    adata, key
        Where to look.
    function
        Which function stored it.
    entries
        Entries that the result must have.
    tables
        Entries that must be tables, with the columns that they must have. A result that is a table itself, as version 0.1
        stored some, stands for one with that ``table``.

    Raises
    ------
    KeyError
        If there is nothing.
    ValueError
        If it is something else, or lacks a part.
    """
    hint = f"Run scdrug.tl.{function}(adata, …) first."
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    found, where = adata.uns[key], f"adata.uns[{key!r}]"
    tables = dict(tables or {})
    if isinstance(found, pd.DataFrame):
        found = {"table": found}
    read_parts(found, [*entries, *tables], where=where, hint=hint)
    for name, columns in tables.items():
        read_table(found[name], columns, where=f"{where}[{name!r}]", hint=hint)
    return found
