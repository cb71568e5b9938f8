"""A reference divided into what is trained on and the lines of an assay, and the scale that scores are made on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..._audit import HeldOut
from ..._constants import KEYS
from ..._validate import check_choice, check_key, examples
from ...pp._measures import lower_is_sensitive, read_description
from .._fold import features_of, reference_of
from ._lines import AssayedLines, check_excluded

if TYPE_CHECKING:
    from anndata import AnnData

    from ...model._base import DrugResponseModel

#: Genes to train on.
Genes = Literal["all", "shared"]
#: A spread below this share of the mean is rounding: models predict in single precision.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TransferData:
    """A reference divided into what is trained on, and the lines of the assay."""

    #: Lines × genes without the lines of the assay; drugs that vary among them.
    training: AnnData
    #: Expression of the lines of the assay, for the upper bound.
    bulk: AnnData
    #: Measured response of the rows of `bulk`, which no model gets to see (rows × drugs).
    response: pd.DataFrame
    #: Rows of `bulk` of each line of the assay, by its name there.
    rows: Mapping[str, np.ndarray]
    #: Names that must not reach training.
    held_out: HeldOut
    #: Mean and standard deviation of each drug over the training lines.
    mean: np.ndarray
    sd: np.ndarray

    @property
    def drugs(self) -> pd.Index:
        """Ids of the drugs."""
        return self.response.columns

    @property
    def measure(self) -> str:
        """Measure of the response."""
        return read_description(self.training.uns)["measure"]

    @property
    def lower_is_sensitive(self) -> bool:
        """Direction of the response."""
        return lower_is_sensitive(self.training.uns)

    def by_line(self, values: np.ndarray, lines: Iterable[str]) -> np.ndarray:
        """Average values of the rows of `bulk` by line, over replicates that are not NaN (lines × columns)."""
        result = []
        for line in lines:
            part = values[self.rows[line]]
            known = np.isfinite(part)
            total = np.where(known, part, 0.0).sum(axis=0)
            result.append(np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))
        return np.array(result)


@dataclass(frozen=True)
class Standard:
    """How predictions of a model become z scores whose low values mean sensitive."""

    #: Ids of the drugs that it predicts, of those asked for.
    drugs: pd.Index
    mean: np.ndarray
    sd: np.ndarray
    #: −1 where higher predictions mean more sensitive.
    sign: float
    #: Whether predictions are in the unit of the response.
    same_unit: bool

    @classmethod
    def of(cls, model: DrugResponseModel, data: TransferData, drugs: pd.Index) -> Standard:
        """Take it from the training responses, or, for predictions in another unit, from those for the reference.

        Parameters
        ----------
        model
            Trained model.
        data
            What it was trained on.
        drugs
            Ids of drugs to score; those that the model does not predict are left out.

        Raises
        ------
        ValueError
            If it predicts none of them.
        """
        known = model.drugs.index.astype(str)
        drugs = drugs[drugs.isin(known)]
        if not len(drugs):
            raise ValueError(
                f"The model predicts none of the drugs of the reference; it has {examples(known)}. "
                "A model must keep the drug ids that it is given."
            )
        same_unit = model.reference.response["measure"] == data.measure
        if same_unit:
            column = data.drugs.get_indexer(drugs)
            mean, sd = data.mean[column], data.sd[column]
        else:
            quantiles = model.calibration.quantiles[:, known.get_indexer(drugs)].astype(np.float64)
            mean, sd = quantiles.mean(axis=0), quantiles.std(axis=0)
        sign = 1.0 if model.reference.lower_is_sensitive else -1.0
        return cls(drugs, mean, sd, sign, same_unit)

    @property
    def varies(self) -> np.ndarray:
        """Drugs for which the model tells lines apart (drugs, bool)."""
        return self.sd > _ROUNDING * np.abs(self.mean)

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        """Z scores of predictions (rows × drugs); zero for drugs for which the model never varies."""
        varies = self.varies
        return self.sign * np.where(varies, (predicted - self.mean) / np.where(varies, self.sd, 1.0), 0.0)


def divide_reference(
    reference: AnnData, assayed: AssayedLines, *, genes: Genes = "all", var_names: pd.Index | None = None
) -> TransferData:
    """Take the lines of an assay out of a reference.

    Parameters
    ----------
    reference
        Bulk reference; see the data contract.
    assayed
        Its rows that belong to the assay.
    genes
        ``"shared"`` keeps the genes that the cells measure.
    var_names
        Genes of the cells.

    Raises
    ------
    ValueError
        If too few training lines or genes are left.
    LeakError
        If a line of the assay would remain.
    """
    from ...model._data import check_reference

    check_choice("genes", genes, ("all", "shared"))
    check_reference(reference, layer=None, response_key=KEYS.RESPONSE)
    check_key(reference.uns, KEYS.DRUGS, where="reference.uns", hint="scdrug.pp.build_reference makes a reference.")
    if genes == "shared":
        reference = reference[:, _shared_genes(reference, var_names)]
    keep = ~assayed.held_out
    if keep.sum() < 3:
        raise ValueError(f"Without the lines of the assay, {int(keep.sum())} training lines are left; 3 are needed.")
    response = reference.obsm[KEYS.RESPONSE]
    values = response.to_numpy(dtype=float)[keep]
    count = np.isfinite(values).sum(axis=0)
    filled = np.where(np.isfinite(values), values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    sd = np.sqrt((np.where(np.isfinite(values), values - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1))
    # a drug that was measured in one training line, or never differs, has no scale
    usable = (count > 1) & (sd > _ROUNDING * np.abs(mean))
    if not usable.any():
        raise ValueError("No drug varies among the training lines. Expected responses of several lines to each drug.")
    seen = np.outer(keep, usable)
    training = reference_of(reference, response, seen, keep, usable)
    check_excluded(training, assayed.rows)
    return TransferData(
        training=training,
        bulk=features_of(reference, assayed.held_out),
        response=response.loc[assayed.held_out, usable],
        rows={line: np.searchsorted(np.flatnonzero(assayed.held_out), rows) for line, rows in assayed.rows.items()},
        held_out=HeldOut(lines=frozenset({*reference.obs_names[~keep].astype(str), *assayed.rows})),
        mean=mean[usable],
        sd=sd[usable],
    )


def _shared_genes(reference: AnnData, var_names: pd.Index | None) -> np.ndarray:
    """Genes of the reference that the cells measure: by equal names if both have names of one kind, else by table."""
    from ...pp._gene_table import detect_gene_ids
    from ...pp._genes import match_genes

    names = pd.Index([]) if var_names is None else var_names
    # a synonym of one gene can be the name of another: not needed where both use symbols
    one_kind = detect_gene_ids(names) == detect_gene_ids(reference.var_names)
    measured = match_genes(names, reference.var_names, synonyms=not one_kind).columns >= 0
    if measured.sum() < 2:
        raise ValueError(
            f"The cells measure {int(measured.sum())} of the reference's {reference.n_vars} genes. Genes are matched by "
            f"name: the reference has such as {examples(reference.var_names, 3)}, the cells {examples(names, 3)}."
        )
    return measured
