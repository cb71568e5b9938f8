"""Patients with expression and response: tables of the user in one form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples
from ._tables import read_table

if TYPE_CHECKING:
    from anndata import AnnData

#: What counts as a response, after RECIST: complete and partial; and what does not: stable and progressive disease.
_RESPONSE = {
    "complete response": True, "partial response": True, "cr": True, "pr": True, "responder": True, "r": True, "1": True,
    "true": True, "stable disease": False, "clinical progressive disease": False, "progressive disease": False,
    "sd": False, "pd": False, "non-responder": False, "nonresponder": False, "nr": False, "0": False, "false": False,
}  # fmt: skip


@checked
def read_patients(
    expression: str | os.PathLike[str] | pd.DataFrame,
    response: str | os.PathLike[str] | pd.DataFrame,
    *,
    scale: str = "log",
    patient_key: str = "patient",
    drug_key: str = "drug",
    response_key: str = "response",
    cohort_key: str = "cohort",
) -> AnnData:
    """Read patients' expression and their responses to treatment, for example of TCGA.

    Parameters
    ----------
    expression
        Table of patients × genes, the first column being the patient: a CSV or TSV file (also compressed) or Parquet file, or a
        DataFrame indexed by patient.
    response
        Table with a row for each treatment of a patient: file or DataFrame.
    scale
        Scale of expression: ``"log"``, ``"linear"`` (FPKM, TPM) or ``"counts"``.
    patient_key, drug_key, response_key, cohort_key
        Columns of `response`. Responses are RECIST terms (complete and partial response count as response, stable and
        progressive disease do not), ``"responder"`` and ``"non-responder"``, or 1 and 0.

    Returns
    -------
    Patients × genes with

    ``obs['cohort']``
        Cohort, such as the type of cancer.
    ``obsm['clinical_response']``
        DataFrame of patients × drugs, 1 for a response, 0 for none, NaN where not treated. A patient who was treated with
        a drug several times responded if any treatment did.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    KeyError
        If a column is missing.
    ValueError
        If a response cannot be read, patients are named twice, or the tables have no patient in common.

    Notes
    -----
    The responses of TCGA that Bang et al. 2024 use were collected by Ding et al. 2016 (doi:10.1093/bioinformatics/btw344).

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> expression = pd.DataFrame({"EGFR": [1.0, 2.0], "KRAS": [3.0, 4.0]}, index=["p1", "p2"])
    >>> response = pd.DataFrame(
    ...     {"patient": ["p1", "p2"], "drug": "Drug X", "response": ["Complete Response", "SD"], "cohort": "LUAD"}
    ... )
    >>> scdrug.datasets.read_patients(expression, response).obsm["clinical_response"]["drug-x"].tolist()
    [1.0, 0.0]
    """
    from anndata import AnnData

    from .._validate import unique_slugs
    from ..pp._line_names import warn_lost

    values = _table(expression, index=True)
    treatments = _table(response, index=False)
    for column in (patient_key, drug_key, response_key, cohort_key):
        check_key(treatments, column, where="response")
    values.index = values.index.astype(str)
    if values.index.has_duplicates:
        raise ValueError(f"`expression` names patients twice: {examples(values.index[values.index.duplicated()])}.")
    patients = treatments[patient_key].astype(str)
    inside = patients.isin(values.index)
    if not inside.any():
        raise ValueError(
            f"No patient of `response` ({examples(patients, 3)}) is in `expression` ({examples(values.index, 3)}). Use the same "
            "names, for example the first twelve characters of TCGA barcodes."
        )
    warn_lost(list(dict.fromkeys(patients)), list(values.index), what="patients with response")
    treatments, patients = treatments[inside], patients[inside]
    said = treatments[response_key].map(lambda value: _RESPONSE.get(_simple(value)))
    if said.isna().any():
        unknown = treatments[response_key][said.isna()].astype(str).unique()
        raise ValueError(f"Responses cannot be read: {examples(unknown)}. Known are {examples(_RESPONSE, 8)}.")
    wide = said.astype(float).groupby([patients, treatments[drug_key].astype(str)]).max().unstack()
    values = values.loc[[name for name in values.index if name in wide.index]]
    wide = wide.reindex(values.index)
    names = [str(name) for name in wide.columns]
    wide.columns = pd.Index(unique_slugs(names))
    cohort = treatments[cohort_key].astype(str).groupby(patients).first().reindex(values.index)
    adata = AnnData(
        values.to_numpy(dtype=np.float32),
        obs=pd.DataFrame({"cohort": cohort.to_numpy(dtype=object)}, index=values.index.rename(None)),
        var=pd.DataFrame(index=values.columns.astype(str).rename(None)),
    )
    adata.obsm["clinical_response"] = wide.rename_axis(None)
    adata.uns["clinical_drugs"] = pd.DataFrame({"name": names}, index=wide.columns)
    adata.uns[KEYS.EXPRESSION] = {"scale": scale}
    return adata


def _simple(value: object) -> str:
    text = str(value).strip().lower()
    return {"1.0": "1", "0.0": "0"}.get(text, text)


def _table(source: str | os.PathLike[str] | pd.DataFrame, *, index: bool) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return source.copy()
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"No table at {path}.")
    return read_table(path, index=index, numbers=index)
