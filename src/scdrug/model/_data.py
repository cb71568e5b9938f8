"""What a model keeps of the reference it was trained on: names, units, summaries; no line."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._audit import check_unseen
from .._constants import KEYS
from .._validate import check_key, examples
from ..pp._measure_values import check_finite, check_values
from ..pp._measures import find_measure, read_description
from ..pp._profile import N_QUANTILES
from ..pp._reference import MIN_LINES, check_scale_of_lines, weaknesses
from ..pp._reference_tables import MAX_DOSE, as_names, as_text, dense_numbers, positive_numbers, read_numbers
from ._arrays import Array, require
from ._ranks import rank_in_quantiles

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel

#: Columns of the drug table that travel with a model, beside the number of lines.
DRUG_COLUMNS = ("name", "smiles", "pubchem_cid", "targets", "pathway")
#: Lines that a drug was measured in; missing in models of earlier versions, and for drugs that were not in training.
N_LINES = "n_lines"
#: What else a drug table may say of how far to trust predictions of a drug, and the type of each: the screen that its responses come
#: from, lines that a second screen shares and its correlation over them, correlation of predictions of left-out lines with
#: what was measured, and of responses with those of NCI-60; and the highest dose that was tested, in µM.
EVIDENCE = {"screen": str, "n_shared": int, "screen_r": float, "held_out_r": float, "nci60_r": float, MAX_DOSE: float}
#: Quantiles of a calibration.
N_PROBABILITIES = 101


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
        measured = adata.obsm[response_key]
        drug_ids = pd.Index(measured.columns.astype(str))
        table = drug_annotation(adata, drug_ids)
        columns = {c: [as_text(value) for value in table[c].astype(object)] if c in table else "" for c in DRUG_COLUMNS}
        drugs = pd.DataFrame(columns, index=drug_ids)
        drugs["name"] = drugs["name"].where(drugs["name"] != "", drugs.index.to_series())
        drugs[N_LINES] = measured.notna().to_numpy().sum(axis=0)
        for column, kind in EVIDENCE.items():
            if column == MAX_DOSE and column in table:
                drugs[column] = positive_numbers(table[column], where=f"`adata.uns['drugs'][{MAX_DOSE!r}]`")
            elif column in table:
                drugs[column] = table[column].astype(kind)
        response = read_description(adata.uns)
        scale = str(adata.uns.get(KEYS.EXPRESSION, {}).get("scale", "log"))
        return cls(np.asarray(adata.var_names.astype(str), dtype=object), drugs, response, scale, adata.n_obs)

    @property
    def lower_is_sensitive(self) -> bool:
        """Direction of the response."""
        return not self.response["direction"].lower().startswith("higher")

    def with_evidence(self, column: str, values: np.ndarray) -> ReferenceInfo:
        """The same with a column of :data:`EVIDENCE` (drugs)."""
        return replace(self, drugs=self.drugs.assign(**{column: values}))

    def with_held_out_r(self, predicted: np.ndarray, observed: np.ndarray) -> ReferenceInfo:
        """The same with the correlation of each drug over lines that predictions left out (lines × drugs)."""
        return self.with_evidence("held_out_r", drug_correlations(predicted, observed))

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "genes": [str(gene) for gene in self.genes],
            "drugs": {
                "id": list(self.drugs.index),
                **{c: list(self.drugs[c]) for c in DRUG_COLUMNS},
                **{column: _plain_column(self.drugs[column], kind) for column, kind in _known(self.drugs).items()},
            },
            "response": self.response,
            "expression_scale": self.expression_scale,
            "n_lines": self.n_lines,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ReferenceInfo:
        """Rebuild what :meth:`to_json` returned."""
        columns = {name: values for name, values in stored["drugs"].items() if values is not None}
        index = pd.Index(columns.pop("id"))
        drugs = pd.DataFrame(columns, index=index, columns=[*DRUG_COLUMNS, *_known(columns)])
        return cls(
            np.asarray(stored["genes"], dtype=object),
            drugs.astype({name: float for name, kind in _known(drugs).items() if kind is float}),
            dict(stored["response"]),
            stored["expression_scale"],
            int(stored["n_lines"]),
        )


def _known(columns: Container[str]) -> dict[str, type]:
    """Columns on the evidence of drugs that a table has, and their types."""
    return {name: kind for name, kind in ({N_LINES: int} | EVIDENCE).items() if name in columns}


def _plain_column(values: pd.Series, kind: type) -> list[Any]:
    return [None if kind is float and np.isnan(value) else kind(value) for value in values]


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
    def fit(
        cls, predicted: np.ndarray, observed: np.ndarray | None = None, *, held_out: bool = False, level: float = 0.9
    ) -> Calibration:
        """Describe predictions for the lines of a reference.

        Parameters
        ----------
        predicted, observed
            Lines × drugs; observed with NaN where not measured, and omitted where nothing was.
        held_out
            Whether each line's predictions were made without it; without that no interval is given.
        level
            Coverage of the interval.
        """
        quantiles = np.quantile(predicted, np.linspace(0, 1, N_PROBABILITIES), axis=0)
        half_width = np.full(predicted.shape[1], np.nan)
        if held_out and observed is not None:
            for drug in range(predicted.shape[1]):
                known = np.isfinite(observed[:, drug])
                residual = np.sort(np.abs(predicted[known, drug] - observed[known, drug]))
                # the finite-sample rank of split conformal prediction; beyond it no finite interval is valid
                rank = int(np.ceil((len(residual) + 1) * level))
                if 0 < rank <= len(residual):
                    half_width[drug] = residual[rank - 1]
        return cls(quantiles.astype(np.float32), half_width.astype(np.float32), float(level), held_out)

    @property
    def spread(self) -> np.ndarray:
        """Half the distance between the 16th and the 84th percentile of predictions over lines (drugs)."""
        low, high = self.quantiles[[16, 84]].astype(np.float64)
        return (high - low) / 2

    def percentile(self, predicted: np.ndarray, columns: np.ndarray, *, lower_is_sensitive: bool) -> np.ndarray:
        """Share of reference lines that are predicted to be less sensitive (rows × drugs, 0-1, float32); NaN stays NaN."""
        rank = rank_in_quantiles(predicted, self.quantiles[:, columns].T)
        return np.subtract(1, rank, out=rank) if lower_is_sensitive else rank


def drug_correlations(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Pearson correlation over lines of each drug, NaN with fewer than ten lines or without differences (drugs)."""
    out = np.full(observed.shape[1], np.nan)
    for drug in range(observed.shape[1]):
        known = np.isfinite(observed[:, drug]) & np.isfinite(predicted[:, drug])
        pair = predicted[known, drug], observed[known, drug]
        if known.sum() >= MIN_LINES and min(part.std() for part in pair) > 0:
            out[drug] = np.corrcoef(*pair)[0, 1]
    return out


def drug_annotation(adata: AnnData, drug_ids: pd.Index) -> pd.DataFrame:
    """What ``uns["drugs"]`` says of the drugs of a reference, in their order; empty rows for those that it lacks.

    Raises
    ------
    ValueError
        If it is no table, or names a drug twice.
    """
    stored = adata.uns.get(KEYS.DRUGS)
    if stored is None:
        return pd.DataFrame(index=drug_ids)
    if not isinstance(stored, pd.DataFrame | Mapping):
        raise ValueError(f"`adata.uns['drugs']` must be a DataFrame by drug id; found {type(stored).__name__}.")
    table = pd.DataFrame(stored)
    table = table.set_axis(table.index.astype(str), axis=0)
    twice = table.index[table.index.duplicated() & table.index.isin(drug_ids)].unique()
    if len(twice):
        raise ValueError(
            f"The ids of `adata.uns['drugs']` must be unique; these occur more than once: {examples(twice)}."
        )
    return table.reindex(drug_ids)


#: Arrays of a profile and of a calibration in a model file.
PROFILE_ARRAYS = {
    f"profile.{name}": Array(shape)
    for name, shape in {
        "mean": ("genes",), "sd": ("genes",), "loadings": ("directions", "genes"), "noise": (), "similarity": (),
        "quantiles": (N_QUANTILES,), "distances": (N_QUANTILES,),
    }.items()
}  # fmt: skip
CALIBRATION_ARRAYS = {
    "calibration.quantiles": Array((N_PROBABILITIES, "drugs")),
    "calibration.half_width": Array(("drugs",), finite=False),
}


def check_tables(path: Path, profile: ReferenceProfile, calibration: Calibration) -> None:
    """Raise unless what was read from a file can be looked up: quantiles that rise, deviations that are positive.

    Raises
    ------
    ValueError
        Naming file and array.
    """
    for name, table in (
        ("calibration.quantiles", calibration.quantiles),
        ("profile.quantiles", profile.quantiles),
        ("profile.distances", profile.distances),
    ):
        require(path, name, (np.diff(table, axis=0) >= 0).all(), "rise from row to row")
    width = calibration.half_width
    require(path, "calibration.half_width", ((width >= 0) & (width < np.inf) | np.isnan(width)).all(), "hold widths")
    require(path, "profile.sd", (profile.sd > 0).all(), "be positive")
    require(path, "profile.noise", profile.noise > 0, "be positive")


def release_data(self: DrugResponseModel) -> None:
    """Let go of the training data; the model still predicts.

    scvi-tools keeps every AnnData that was set up for as long as the process runs. Where many models are trained one
    after another, this is what keeps memory flat.
    """
    if self._adata_manager is not None:
        type(self)._setup_adata_manager_store.pop(self._adata_manager.adata_uuid, None)
    type(self)._per_instance_manager_store.pop(self.id, None)
    self._adata = None
    self._adata_manager = None


def line_positions(known: Mapping[str, int], names: np.ndarray | None, n: int) -> np.ndarray:
    """Positions of `n` samples among lines that are known by name, −1 for others and for samples without names."""
    return np.full(n, -1) if names is None else np.array([known.get(str(name), -1) for name in names], dtype=int)


def dense_expression(adata: AnnData, layer: str | None) -> np.ndarray:
    """Expression of a bulk reference as a dense float32 array; lines are few, so this is small."""
    matrix = adata.X if layer is None else adata.layers[layer]
    return dense_numbers(matrix, where="`adata.X`" if layer is None else f"`adata.layers[{layer!r}]`")


def check_reference(adata: AnnData, *, layer: str | None, response_key: str) -> None:
    """Raise unless `adata` follows the data contract of a bulk reference, and warn of what can hardly be learned from it.

    Nothing is altered.
    """
    where = f"`adata.obsm[{response_key!r}]`"
    check_key(
        dict(adata.obsm),
        response_key,
        where="adata.obsm",
        hint="A reference needs lines × drugs responses there. scdrug.pp.build_reference makes one from two tables.",
    )
    response = adata.obsm[response_key]
    if not isinstance(response, pd.DataFrame):
        raise TypeError(f"{where} must be a DataFrame of lines × drug ids; found {type(response).__name__}.")
    for what, names in (
        (f"drug of {where}", response.columns),
        ("line of `adata`", adata.obs_names),
        ("gene of `adata`", adata.var_names),
    ):
        texts = as_names(names, what)
        if texts.has_duplicates:
            kind = what.split()[0]
            ids = {
                "drug": f"Drug ids of {where}",
                "line": "Line names of a reference",
                "gene": "Gene names of a reference",
            }[kind]
            advice = " Call `adata.var_names_make_unique()` first." if kind == "gene" else ""
            raise ValueError(
                f"{ids} must be unique; found twice: {examples(texts[texts.duplicated()].unique())}.{advice}"
            )
    if layer is not None:
        check_key(dict(adata.layers), layer, where="adata.layers")
    values = read_numbers(response, where=where)
    _check_responses(adata, response, values, where=where.strip("`"))
    drug_annotation(adata, response.columns.astype(str))
    expression = dense_expression(adata, layer)
    if not np.isfinite(expression).all():
        raise ValueError("Expression of the reference holds NaN or infinite values. Remove or fill them first.")
    described = adata.uns.get(KEYS.EXPRESSION)
    scale = str(described.get("scale", "log")) if isinstance(described, Mapping) else "log"
    check_scale_of_lines(
        expression,
        scale,
        where="adata.X" if layer is None else f"adata.layers[{layer!r}]",
        argument="The scale in `adata.uns['expression']['scale']` (or by default) is",
    )
    if len(expression) < 2:
        raise ValueError("The reference has one line only; a model needs many. See scdrug.pp.build_reference.")
    for note in weaknesses(expression, response):
        warnings.warn(note, UserWarning, stacklevel=4)


def _check_responses(adata: AnnData, response: pd.DataFrame, values: np.ndarray, *, where: str) -> None:
    check_finite(values, where=where)
    if not np.isfinite(values).any():
        raise ValueError(f"`{where}` holds no measured response at all.")
    check_unseen(adata.obs_names, response, where="setup_anndata")
    empty = list(response.columns[~np.isfinite(values).any(axis=0)][:5])
    if empty:
        raise ValueError(f"Drugs without any measured response cannot be trained on: {empty}. Drop these columns.")
    described = read_description(adata.uns, warn=True)
    try:
        known = find_measure(described["measure"], described["unit"])
        if known is not None:
            check_values(values, known, where=where)
    except ValueError as error:  # responses may have been transformed since
        if "direction" not in adata.uns.get(KEYS.RESPONSE, {}):  # it was taken from a measure that these are not
            raise
        warnings.warn(f"{error} Set `adata.uns['response']`.", UserWarning, stacklevel=5)
