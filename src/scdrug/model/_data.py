"""What a model keeps of the reference it was trained on: names, units, summaries; no line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._audit import check_unseen
from .._constants import KEYS
from .._validate import check_key

if TYPE_CHECKING:
    from anndata import AnnData

#: Columns of the drug table that travel with a model.
DRUG_COLUMNS = ("name", "smiles", "pubchem_cid", "targets", "pathway")
_PROBABILITIES = 101


@numba.njit(parallel=True, nogil=True, cache=True)
def _rank_in_quantiles(values, quantiles):  # pragma: no cover - compiled
    """Interpolated probability of each value in its column's quantile function (rows × columns, 0-1)."""
    n_rows, n_columns = values.shape
    last = quantiles.shape[1] - 1
    out = np.empty((n_rows, n_columns), dtype=np.float32)
    for i in numba.prange(n_rows):
        for j in range(n_columns):
            value, steps = values[i, j], quantiles[j]
            if np.isnan(value):  # not predicted
                out[i, j] = np.nan
            elif value < steps[0]:
                out[i, j] = 0.0
            elif value > steps[last]:
                out[i, j] = 1.0
            else:
                low = np.searchsorted(steps, value, side="right") - 1
                if steps[low] == value:  # the middle of equal quantiles, in whichever direction they are read
                    out[i, j] = (low + np.searchsorted(steps, value, side="left")) / (2.0 * last)
                else:
                    width = steps[low + 1] - steps[low]
                    out[i, j] = (low + (value - steps[low]) / width) / last
    return out


@dataclass(frozen=True)
class ReferenceInfo:
    """Genes, drugs and units of a model's training reference."""

    genes: np.ndarray
    #: Indexed by drug id.
    drugs: pd.DataFrame
    #: Measure, unit and direction of the response.
    response: dict[str, str]
    expression_scale: str
    n_lines: int

    @classmethod
    def from_anndata(cls, adata: AnnData, *, response_key: str) -> ReferenceInfo:
        """Read what the data contract puts into a bulk reference."""
        drug_ids = pd.Index(adata.obsm[response_key].columns.astype(str))
        table = adata.uns.get(KEYS.DRUGS)
        table = pd.DataFrame(index=drug_ids) if table is None else pd.DataFrame(table).reindex(drug_ids)
        columns = {
            column: table[column].fillna("").astype(str) if column in table else pd.Series("", index=drug_ids)
            for column in DRUG_COLUMNS
        }
        drugs = pd.DataFrame(columns, index=drug_ids)
        drugs["name"] = drugs["name"].where(drugs["name"] != "", drugs.index.to_series())
        stated = adata.uns.get(KEYS.RESPONSE, {})
        response = {
            "measure": str(stated.get("measure", "response")),
            "unit": str(stated.get("unit", "")),
            "direction": str(stated.get("direction", "lower is more sensitive")),
        }
        scale = str(adata.uns.get(KEYS.EXPRESSION, {}).get("scale", "log"))
        return cls(np.asarray(adata.var_names.astype(str), dtype=object), drugs, response, scale, adata.n_obs)

    @property
    def lower_is_sensitive(self) -> bool:
        """Direction of the response."""
        return not self.response["direction"].lower().startswith("higher")

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "genes": [str(gene) for gene in self.genes],
            "drugs": {"id": list(self.drugs.index), **{c: list(self.drugs[c]) for c in DRUG_COLUMNS}},
            "response": self.response,
            "expression_scale": self.expression_scale,
            "n_lines": self.n_lines,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ReferenceInfo:
        """Rebuild what :meth:`to_json` returned."""
        drugs = dict(stored["drugs"])
        index = pd.Index(drugs.pop("id"))
        return cls(
            np.asarray(stored["genes"], dtype=object),
            pd.DataFrame(drugs, index=index, columns=list(DRUG_COLUMNS)),
            dict(stored["response"]),
            stored["expression_scale"],
            int(stored["n_lines"]),
        )


@dataclass(frozen=True)
class Calibration:
    """How a model's predictions are distributed over its reference, drug by drug."""

    #: Quantiles of predictions over reference lines that the model did not see, where it can leave them out
    #: (probabilities × drugs).
    quantiles: np.ndarray
    #: Half-width of the split-conformal interval per drug in the unit of the response; NaN where it is unknown.
    half_width: np.ndarray
    #: Coverage that the half-width was made for.
    level: float
    #: Whether predictions behind it left each line out.
    held_out: bool

    @classmethod
    def fit(cls, predicted: np.ndarray, observed: np.ndarray, *, held_out: bool, level: float = 0.9) -> Calibration:
        """Describe predictions for the lines of a reference.

        Parameters
        ----------
        predicted, observed
            Lines × drugs; observed with NaN where not measured.
        held_out
            Whether each line's predictions were made without it; without that no interval is given.
        level
            Coverage of the interval.
        """
        quantiles = np.quantile(predicted, np.linspace(0, 1, _PROBABILITIES), axis=0)
        half_width = np.full(predicted.shape[1], np.nan)
        if held_out:
            for drug in range(predicted.shape[1]):
                known = np.isfinite(observed[:, drug])
                residual = np.sort(np.abs(predicted[known, drug] - observed[known, drug]))
                # the finite-sample rank of split conformal prediction; beyond it no finite interval is valid
                rank = int(np.ceil((len(residual) + 1) * level))
                if 0 < rank <= len(residual):
                    half_width[drug] = residual[rank - 1]
        return cls(quantiles.astype(np.float32), half_width.astype(np.float32), float(level), held_out)

    def percentile(self, predicted: np.ndarray, columns: np.ndarray, *, lower_is_sensitive: bool) -> np.ndarray:
        """Share of reference lines that are predicted to be less sensitive (rows × drugs, 0-1, float32); NaN stays NaN."""
        quantiles = np.ascontiguousarray(self.quantiles[:, columns].T, dtype=np.float32)
        rank = _rank_in_quantiles(np.ascontiguousarray(predicted, dtype=np.float32), quantiles)
        return np.subtract(1, rank, out=rank) if lower_is_sensitive else rank


def dense_expression(adata: AnnData, layer: str | None) -> np.ndarray:
    """Expression of a bulk reference as a dense float32 array; lines are few, so this is small."""
    matrix = adata.X if layer is None else adata.layers[layer]
    if hasattr(matrix, "compute"):
        matrix = matrix.compute()
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)


def check_reference(adata: AnnData, *, layer: str | None, response_key: str) -> None:
    """Raise unless `adata` follows the data contract of a bulk reference."""
    check_key(
        dict(adata.obsm),
        response_key,
        where="adata.obsm",
        hint="A reference needs lines × drugs responses there. scdrug.pp.build_reference makes one from two tables.",
    )
    response = adata.obsm[response_key]
    if not isinstance(response, pd.DataFrame):
        raise TypeError(
            f"`adata.obsm[{response_key!r}]` must be a DataFrame of lines × drug ids; found {type(response).__name__}."
        )
    if response.columns.duplicated().any():
        duplicated = list(response.columns[response.columns.duplicated()][:5])
        raise ValueError(f"Drug ids of `adata.obsm[{response_key!r}]` must be unique; found twice: {duplicated}.")
    if not adata.var_names.is_unique:
        raise ValueError("Gene names of a reference must be unique. Call `adata.var_names_make_unique()` first.")
    values = response.to_numpy(dtype=float)
    if np.isinf(values).any():
        raise ValueError(f"`adata.obsm[{response_key!r}]` holds infinite responses. Use NaN for what is not measured.")
    if not np.isfinite(values).any():
        raise ValueError(f"`adata.obsm[{response_key!r}]` holds no measured response at all.")
    check_unseen(adata.obs_names, response, where="setup_anndata")
    empty = list(response.columns[~np.isfinite(values).any(axis=0)][:5])
    if empty:
        raise ValueError(f"Drugs without any measured response cannot be trained on: {empty}. Drop these columns.")
    if not np.isfinite(dense_expression(adata, layer)).all():
        raise ValueError("Expression of the reference holds NaN or infinite values. Remove or fill them first.")
