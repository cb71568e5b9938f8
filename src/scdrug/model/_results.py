"""What every prediction stores, whoever makes it: one schema, checked before and written at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._constants import MIN_RELIABILITY, derived_keys, evidence_key
from .._store import Place, holds, reserve, store
from .._validate import plain

if TYPE_CHECKING:
    from anndata import AnnData

    from ._base import DrugResponseModel
    from ._data import Calibration
    from ._unseen import JoinedModel
    from .baseline._linear import LinearModel

#: Of samples that are on the reference's scale.
NO_DIFFICULTY = {"shift": 0.0, "missing": 0.0, "noise_depth": 1.0, "noise_power": 0.0}
#: Steps of the distribution over lines that predictions carry along: enough to place an interval's bounds among the lines.
N_LINE_QUANTILES = 20
#: Where, with predictions, the distribution stands that percentiles are computed from when they are asked for.
QUANTILES = "percentile_quantiles"
#: Whether something in ``uns`` describes predictions.
is_provenance = holds("model_class", "scdrug_version")


@dataclass(frozen=True)
class PredictedResponse:
    """Predicted responses with what is needed to read them; rows stand in the order of the samples."""

    #: Ids of drugs, in the order of the columns.
    ids: list[str]
    #: Samples × drugs, in the unit of the reference; `None` if they are kept elsewhere.
    response: np.ndarray | None
    #: Samples × drugs, 0-1, 1 = more sensitive than every reference line; `None` if they are kept elsewhere, or not at all.
    percentile: np.ndarray | None
    #: Samples, float32, 0-1.
    reliability: np.ndarray
    #: Model, unit, direction, drugs, half widths and verdict, in plain types.
    provenance: dict[str, Any]
    #: Numbers of each sample that reliability and width follow from, by name (samples); empty where none are known.
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: DrugResponseModel | LinearModel | JoinedModel,
        ids: list[str],
        columns: np.ndarray,
        response: np.ndarray | None,
        reliability: np.ndarray,
        *,
        percentiles: bool = True,
        dtype: str = "float32",
        n_uninformative: int = 0,
        evidence: Mapping[str, np.ndarray] | None = None,
        of_drugs: Mapping[str, np.ndarray] | None = None,
        difficulty: Mapping[str, float] = NO_DIFFICULTY,
        **stated: Any,
    ) -> PredictedResponse:
        """Complete predictions of a model by what it knows of its drugs.

        Parameters
        ----------
        model
            Model that predicted.
        ids, columns
            Drugs, and their positions in the model.
        response
            Samples × drugs; NaN for samples that are not predicted. `None` where they are kept elsewhere.
        reliability
            Samples, 0-1.
        percentiles
            Whether percentiles are stored. If not, what they are computed from is.
        dtype
            Type to store responses and percentiles in.
        n_uninformative
            Samples that showed too few genes to be predicted.
        evidence
            What reliability and width follow from, by name (samples).
        of_drugs
            Further columns of the drug table.
        difficulty
            What makes the samples as a whole harder to predict than lines, see `tl._width`.
        **stated
            Further provenance: at least `gene_coverage`, `harmonization` and `verdict`.
        """
        calibration = model.calibration
        half_width = calibration.half_width[columns]
        percentile = None
        if percentiles and response is not None:
            percentile = calibration.percentile(
                response, columns, lower_is_sensitive=model.reference.lower_is_sensitive
            )
            percentile = percentile.astype(dtype, copy=False)
        if not percentiles:
            stated[QUANTILES] = _line_quantiles(calibration, ids, columns, step=1)
        return cls(
            ids=ids,
            response=None if response is None else response.astype(dtype, copy=False),
            percentile=percentile,
            reliability=np.asarray(reliability, dtype=np.float32),
            provenance=model.provenance(
                drugs=_drug_table(model, ids).assign(
                    half_width=half_width, median_of_lines=calibration.quantiles[50, columns], **(of_drugs or {})
                ),
                half_width=half_width,
                interval_level=calibration.level,
                line_quantiles=_line_quantiles(calibration, ids, columns),
                n_uninformative=n_uninformative,
                difficulty=dict(difficulty),
                **stated,
            ),
            evidence=evidence or {},
        )

    def table(self, names: pd.Index) -> pd.DataFrame:
        """Response as a table (samples × drug ids)."""
        assert self.response is not None
        return self._frame(self.response, names)

    def _frame(self, values: np.ndarray, names: pd.Index) -> pd.DataFrame:
        return pd.DataFrame(values, index=names, columns=pd.Index(self.ids))

    def store(self, adata: AnnData, key: str, *, copy: bool = False) -> AnnData:
        """Write everything to `adata`, or to a copy of it, or nothing; returns what was written to."""
        percentile_key, reliability_key = derived_keys(key)
        values: dict[Place, Any] = {
            ("obsm", key): self.table(adata.obs_names),
            ("obsm", percentile_key): None
            if self.percentile is None
            else self._frame(self.percentile, adata.obs_names),
            ("obs", reliability_key): self.reliability,
            ("uns", key): self.provenance,
            ("obsm", evidence_key(key)): pd.DataFrame(dict(self.evidence), index=adata.obs_names, dtype=np.float32)
            if len(self.evidence)
            else None,
        }
        return store_predictions(adata, key, values, copy=copy)


def store_predictions(adata: AnnData, key: str, values: Mapping[Place, Any], *, copy: bool = False) -> AnnData:
    """Store all parts of a prediction; those that are `None` are left out, and what an earlier one left there goes."""
    there = {place: value for place, value in values.items() if value is not None}
    return store(adata, there, report=key, drop=[place for place in values if place[0] == "obsm"], copy=copy)


def provenance(self: DrugResponseModel | LinearModel, **extra: Any) -> dict[str, Any]:
    """Model, version, unit and direction of predictions, in plain types for ``uns``."""
    return plain(
        {
            "model": self.notes_.get("name", self._class_name),
            "model_class": self._class_name,
            "scdrug_version": __version__,
            **self.reference.response,
            **extra,
        }
    )


def prediction_places(key: str) -> tuple[Place, ...]:
    """Where :meth:`PredictedResponse.store` writes to."""
    percentile_key, reliability_key = derived_keys(key)
    return ("obsm", key), ("obsm", percentile_key), ("obsm", evidence_key(key)), ("obs", reliability_key), ("uns", key)


def reserve_predictions(adata: AnnData, key: Any, *, argument: str = "key_added") -> None:
    """Raise unless predictions may be stored under `key`, see :func:`scdrug._store.reserve`."""

    def former(report: Mapping[str, Any]) -> Iterable[Place]:
        # version 0.1: only tl.predict_response stored percentile and reliability, and only it gave a verdict
        return prediction_places(key) if "verdict" in report else [("obsm", key)]

    reserve(
        adata,
        prediction_places(key) if isinstance(key, str) else [("obsm", key)],
        report=key,
        recognise=is_provenance,
        former=former,
        function="scdrug",
        argument=argument,
    )


def verdict_on_lines(reliability: np.ndarray, coverage: float) -> str:
    """``"ok"``, or why no drug can be ranked for samples on the reference's scale."""
    median = float(np.median(reliability)) if len(reliability) else 0.0
    if median >= MIN_RELIABILITY:
        return "ok"
    reason = (
        f"only {coverage:.0%} of the model's genes are measured"
        if coverage < 0.5
        else "the samples lie farther from the reference's mean than its own lines do"
    )
    return f"No drug can be ranked for these samples: median reliability is {median:.2f}, since {reason}."


def _line_quantiles(
    calibration: Calibration, ids: list[str], columns: np.ndarray, *, step: int | None = None
) -> pd.DataFrame:
    """The distribution of predictions over the reference's lines, every twentieth of it (drug ids × probabilities as text)."""
    n_steps = len(calibration.quantiles) - 1
    step = n_steps // N_LINE_QUANTILES if step is None else step
    names = [f"{number / n_steps:.2f}" for number in range(0, n_steps + 1, step)]
    return pd.DataFrame(calibration.quantiles[::step][:, columns].T, index=pd.Index(ids), columns=names)


def _drug_table(model: DrugResponseModel | LinearModel | JoinedModel, ids: list[str]) -> pd.DataFrame:
    """The model's drugs, and whether they lie within what it was trained on, where it can tell."""
    table, notes = model.drugs.loc[ids], model._drug_notes()
    return table if notes is None else table.join(notes.loc[ids])
