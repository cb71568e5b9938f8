"""What is known of each predicted drug, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import examples
from ..pp._drug_names import listed_indications, phases_of, split_codes
from ..pp._tumour_types import tumour_codes
from ..tl._drug_evidence import evidence_of
from ..tl._stored import read_predictions

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def drug_evidence_df(
    adata: AnnData, tumour_type: str | None = None, *, phases: pd.DataFrame | None = None, key: str = KEYS.PREDICTED
) -> pd.DataFrame:
    """Get what speaks for the prediction of each drug, and how far the drug has come in the clinic.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    tumour_type
        Type of tumour: a code of TCGA (``"BRCA"``, ``"COAD/READ"``) or a name (``"breast cancer"``).
    phases
        A further list of clinical phases, such as that of :func:`scdrug.datasets.mipe`: the columns `name`, `phase` (0-4, NaN where
        unknown) and, if it has it, `synonyms`. The higher phase of both lists counts.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    By drug id in the order of the predictions:

    - `name`; `evidence`, one ordered word, see *Notes*;
    - `phase`: highest clinical phase in any disease (0-4, 4 = approved; NaN where the list has none), `first_approval` (year, NaN),
      `indications`: types of tumours that it is approved for, as codes of TCGA;
    - `indicated`, with `tumour_type` only: whether it is among them. The list is not complete: False does not say that a drug is useless;
    - `targets`, `pathway`;
    - `n_lines`: lines that it was measured in;
    - `held_out_r`, `screen_r`, `nci60_r`: correlation, over lines, of predictions of left-out lines with their measured response, of the
      measurements of two releases of the screen, and of the screen with NCI-60; NaN where it was not computed;
    - `applicable`: whether a drug that was not in training resembles one that was; True for drugs of the training.

    Raises
    ------
    KeyError
        If there are no predictions.
    ValueError
        If `tumour_type` is unknown (near names are offered), or the list of indications says nothing of it; if `phases` lacks a column, or
        holds phases other than 0 to 4.

    See Also
    --------
    drugs_df : what the drug ids stand for, and the width of intervals.

    Notes
    -----
    With *r* the lower end of the one-sided 95 % interval of `held_out_r` (``tanh(atanh(held_out_r) - 1.645 / sqrt(n_lines - 3))``), and
    agreement `screen_r` or, where that is missing, `nci60_r`, `evidence` is

    - ``"strong"``: *r* is at least 0.4 and agreement at least 0.4: what was measured can be predicted, and measured again;
    - ``"some"``: *r* is at least 0.4 and agreement is not known to be below 0.2;
    - ``"weak"``: *r* is at least 0.2, or the drug was never measured but resembles drugs that were;
    - ``"none"``: *r* is lower, or the drug was never measured and resembles no other;
    - ``"unknown"``: the model states no `held_out_r`, as those do that cannot leave lines out.

    It is about lines in culture: no word says that a drug helps a patient. Lines of all tissues count, so that a part of each
    correlation is that blood cancers respond to more drugs than solid ones.

    Phases and approvals are those of the list of LINCS in signatureSearch, indications those of CellHit's list from the
    National Cancer Institute (Carli et al. 2025, doi:10.1038/s41467-025-56827-5); both are bundled. A drug with an indication is in phase 4.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> table = scdrug.get.drug_evidence_df(cells, "melanoma")
    >>> table.index[table["indicated"]].tolist()
    ['dabrafenib', 'trametinib']
    """
    covered = listed_indications()
    codes = None if tumour_type is None else tumour_codes(tumour_type, covered)
    table = evidence_of(read_predictions(adata, key).drugs)
    if phases is not None:
        table["phase"] = np.fmax(table["phase"], phases_of(table["name"], _check_phases(phases)))
    if codes is not None:
        indicated = [not set(codes).isdisjoint(split_codes(text)) for text in table["indications"]]
        table.insert(table.columns.get_loc("indications") + 1, "indicated", indicated)
    return table


def _check_phases(table: pd.DataFrame) -> pd.DataFrame:
    lacking = [column for column in ("name", "phase") if column not in table]
    if lacking:
        raise ValueError(f"`phases` must have the columns 'name' and 'phase'; it has {examples(table.columns)}.")
    numbers = pd.to_numeric(table["phase"], errors="coerce")
    wrong = table["phase"].notna() & ~numbers.between(0, 4)
    if wrong.any():
        raise ValueError(
            f"`phases['phase']` must hold phases from 0 to 4, or nothing; found {examples(table['phase'][wrong])}."
        )
    return table.assign(phase=numbers)
