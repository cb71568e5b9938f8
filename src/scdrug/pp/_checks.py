"""Checks that an AnnData can be read as cells × genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData


def check_cells(adata: AnnData) -> None:
    """Raise unless `adata` is a non-empty AnnData of cells with string names that was not minified."""
    if not hasattr(adata, "obsm") or not hasattr(adata, "var_names"):
        hint = " Pass one of its modalities, e.g. mdata['rna']." if hasattr(adata, "mod") else ""
        raise TypeError(f"Expected an AnnData of cells × genes; found {type(adata).__name__}.{hint}")
    if hasattr(adata, "mod"):
        raise TypeError("Expected an AnnData of cells × genes; found MuData. Pass one modality, e.g. mdata['rna'].")
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise ValueError(f"The object is empty: {adata.n_obs} cells × {adata.n_vars} genes. Check the filters before.")
    if "_scvi_adata_minify_type" in adata.uns:
        raise ValueError(
            "The object was minified by scvi-tools: its expression is gone. Pass the original counts instead."
        )
    for axis, names in (("obs", adata.obs_names), ("var", adata.var_names)):
        if not pd.api.types.is_string_dtype(names) and not all(isinstance(name, str) for name in names):
            raise TypeError(
                f"`adata.{axis}_names` must be strings; found {names.dtype}. "
                f"Convert them with `adata.{axis}_names = adata.{axis}_names.astype(str)`"
                + (f" and check that genes carry names, not positions.{_named(adata)}" if axis == "var" else ".")
            )


def _named(adata: AnnData) -> str:
    """Point out the column of `var` that holds gene names."""
    from ._features import name_columns

    column, _ = next(name_columns(adata.var, frozenset()), (None, None))
    return "" if column is None else f" `adata.var[{column!r}]` holds gene names."
