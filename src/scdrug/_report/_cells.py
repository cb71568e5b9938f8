"""Cells in an embedding, small enough to stand inside the page."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import get
from .._constants import KEYS
from .._labels import group_labels
from .._lazy import column_of
from .._validate import check_key, examples
from ..pl._style import CATEGORIES, MIDDLE, OTHER, RESISTANT, SENSITIVE
from ._assets import packed, plot_library
from ._read import Results
from ._top import leading_drugs

if TYPE_CHECKING:
    from anndata import AnnData

_EMBEDDINGS = ("umap", "tsne", "pca")
_NAMES = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA"}
#: Drugs in the menu, the least and the most, and bytes that cells may take, so that the page stays below 8 MB.
_MIN_DRUGS, _MAX_DRUGS, _MAX_BYTES = 3, 30, 2_200_000
#: Bytes of a cell without drugs: two for x, two for y, one for group, one for reliability.
_BYTES_OF_A_CELL = 6
#: Stands for a missing percentile, the others being 0 to 100, and for no group.
_NONE = 255
#: More groups than the legend can hold are not offered as colours.
_MAX_GROUPS = 60
_MORE_COLORS = (
    "#332288",
    "#88ccee",
    "#44aa99",
    "#117733",
    "#999933",
    "#ddcc77",
    "#cc6677",
    "#882255",
    "#aa4499",
    "#6e7f80",
)


@dataclass(frozen=True)
class CellsView:
    """What the page needs to draw cells.

    Attributes
    ----------
    basis
        Name of the embedding.
    note
        How many cells are drawn, in a sentence.
    drugs
        Id and name of the drugs in the menu.
    meta
        JSON: names, colours, sizes.
    values
        Packed bytes: x and y (two bytes each), group (one), reliability (one), then percentiles of each drug (one).
    library
        Plotly, packed.
    """

    basis: str
    note: str
    drugs: list[tuple[str, str]]
    has_groups: bool
    meta: str
    values: str
    library: str


def cells_view(adata: AnnData, results: Results, *, basis: str | None, max_cells: int, key: str) -> CellsView | None:
    """Embedding with reliability, groups and the percentiles of leading drugs; `None` if there is no embedding."""
    name, points = _embedding(adata, basis)
    if points is None:
        return None
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    shown = finite
    if len(finite) > max_cells:
        shown = np.sort(np.random.default_rng(0).choice(finite, max_cells, replace=False))
    n_drugs = min(max(_MAX_BYTES // len(shown) - _BYTES_OF_A_CELL, _MIN_DRUGS), _MAX_DRUGS)
    drugs = leading_drugs(results, _MAX_DRUGS, n_drugs)
    percentiles = [
        get.response_df(adata, drugs=[drug], use="percentile", key=key).to_numpy(dtype=float)[shown, 0]
        for drug in drugs
    ]
    reliability = column_of(adata.obs, KEYS.RELIABILITY if key == KEYS.PREDICTED else f"{key}_reliability")
    reliability = reliability.to_numpy(dtype=float)
    codes, groups = _groups(adata, results)
    parts = [
        _scaled(points[shown, 0]), _scaled(points[shown, 1]), codes[shown].astype(np.uint8), _hundredths(reliability[shown]),
        *(_hundredths(column) for column in percentiles),
    ]  # fmt: skip
    names = [str(results.drugs.loc[drug, "name"]) for drug in drugs]
    low, high = points[shown].min(axis=0), points[shown].max(axis=0)
    meta = {
        "n": len(shown),
        "range": [low.tolist(), high.tolist()],
        "basis": _NAMES.get(name, name),
        "drugs": names,
        "groups": groups,
        "means": _means(results, drugs, [group["name"] for group in groups]),
        "scale": [[0, RESISTANT], [0.5, MIDDLE], [1, SENSITIVE]],
        "other": OTHER,
    }
    return CellsView(
        basis=_NAMES.get(name, name),
        note=_note(len(shown), len(finite), adata.n_obs),
        drugs=[(str(number), text) for number, text in enumerate(names)],
        has_groups=bool(groups),
        meta=safe_json(meta),
        values=packed(b"".join(part.tobytes() for part in parts)),
        library=plot_library(),
    )


def safe_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _embedding(adata: AnnData, basis: str | None) -> tuple[str, np.ndarray | None]:
    if basis is None:
        basis = next((name for name in _EMBEDDINGS if f"X_{name}" in adata.obsm), None)
        if basis is None:
            return "", None
    name = basis.removeprefix("X_")
    stored = f"X_{name}" if f"X_{name}" in adata.obsm else name
    there = [one for one in adata.obsm if one.startswith("X_")]
    check_key(adata.obsm, stored, where="adata.obsm", hint=f"Embeddings that are there: {examples(there) or 'none'}.")
    points = np.asarray(adata.obsm[stored], dtype=float)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"`adata.obsm[{stored!r}]` must have two or more columns; found the shape {points.shape}.")
    return name, points[:, :2] if np.isfinite(points[:, :2]).all(axis=1).any() else None


def _groups(adata: AnnData, results: Results) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Code of each cell, the last one for cells without a label, and what the page says of each group."""
    if results.groupby is None or results.groups is None or len(results.groups) > _MAX_GROUPS:
        return np.zeros(adata.n_obs, dtype=np.int64), []
    labels = group_labels(adata, results.groupby)
    names = [str(name) for name in labels.categories]
    refused = dict(zip(results.groups["group"].astype(str), results.groups["refused"], strict=True))
    colors = _colors(adata, results.groupby, names)
    codes = np.where(labels.codes < 0, len(names), labels.codes).astype(np.int64)
    return codes, [
        {"name": name, "color": color, "refused": bool(refused.get(name, False))}
        for name, color in zip(names, colors, strict=True)
    ]


def _colors(adata: AnnData, groupby: str, names: list[str]) -> list[str]:
    """Colours that scanpy stored, if they fit; ours otherwise."""
    stored = [str(color) for color in np.ravel(adata.uns.get(f"{groupby}_colors", []))]
    column = column_of(adata.obs, groupby)
    known = [str(name) for name in column.cat.categories] if isinstance(column.dtype, pd.CategoricalDtype) else names
    if len(stored) >= len(known) and all(re.fullmatch(r"#[0-9a-fA-F]{6}", color[:7]) for color in stored):
        by_name = dict(zip(known, (color[:7] for color in stored), strict=False))
        if all(name in by_name for name in names):
            return [by_name[name] for name in names]
    ours = (*CATEGORIES[:-1], *_MORE_COLORS)
    return [ours[number % len(ours)] for number in range(len(names))]


def _means(results: Results, drugs: list[str], groups: list[str]) -> list[list[float | None]]:
    """Mean percentile of each drug in each group."""
    if results.response is None or not groups:
        return []
    table = results.response.assign(group=results.response["group"].astype(str))
    values = table.pivot(index="drug", columns="group", values="percentile").reindex(index=drugs, columns=groups)
    return [[None if not np.isfinite(value) else round(float(value), 4) for value in row] for row in values.to_numpy()]


def _note(n_shown: int, n_placed: int, n_cells: int) -> str:
    if n_shown < n_placed:
        return f"{n_shown:,} of {n_cells:,} cells are drawn, chosen by chance."
    if n_placed < n_cells:
        return f"{n_placed:,} of {n_cells:,} cells are drawn; the others have no place in the embedding."
    return f"All {n_cells:,} cells are drawn."


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    span = high - low if high > low else 1.0
    return np.round((values - low) / span * 65535).astype("<u2")


def _hundredths(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), np.round(np.clip(np.nan_to_num(values), 0, 1) * 100), _NONE).astype(np.uint8)
