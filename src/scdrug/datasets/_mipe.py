"""MIPE: how far the drugs of a collection have come in the clinic, to fill what the bundled lists lack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._arguments import checked
from ._local import card, obtain, require
from ._tables import read_table

if TYPE_CHECKING:
    import pandas as pd

_FILE = "drug-metadata.tsv"
#: Clinical phase by what the list says; where it says "Discontinued" or "Clinical", no phase is known.
_PHASES = {
    "approved": 4.0, "withdrawn": 4.0, "pre-registered": 3.0, "phase iii": 3.0, "phase ii/iii": 3.0, "phase ii": 2.0, "phase i/ii": 2.0,
    "phase i": 1.0, "preclinical": 0.0,
}  # fmt: skip
_GENES = tuple(f"gene_symbol_{number}" for number in range(1, 6))


@checked
def mipe(*, path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """MIPE, a collection of approved and investigational drugs of NCATS: phase, targets and mechanism of 1,912 compounds.

    Parameters
    ----------
    path
        The table (``drug-metadata.tsv``), or the folder that holds it, instead of the cache.

    Returns
    -------
    A row for each compound: ``name``; ``synonyms``, a code of its maker (empty where there is none); ``status``, as the list puts it;
    ``phase``, the highest clinical phase in any disease (0-4; 4 = approved, or approved once and withdrawn; NaN where the list
    names none, as for discontinued drugs); ``targets`` (HGNC symbols, joined by ", "), ``mechanism`` and ``field`` (of medicine). The card of the
    data set is in ``attrs['dataset']``.

    Raises
    ------
    FileNotFoundError
        If `path` lacks the table.
    RuntimeError
        If it is neither cached nor to be had.
    ValueError
        If the table has another form.

    See Also
    --------
    scdrug.get.drug_evidence_df : takes the phases.

    Notes
    -----
    The carrying repository states no licence, so that the table is fetched and not bundled. Phases are those of the version of the
    list (MIPE 4 with updates of MIPE 6), not of today.

    Source: the Mechanism Interrogation PlatE of the National Center for Advancing Translational Sciences, as the screen of myeloma lines
    doi:10.5281/zenodo.13910207 carries it.

    Examples
    --------
    >>> import scdrug
    >>> table = scdrug.datasets.mipe()  # doctest: +SKIP
    >>> scdrug.get.drug_evidence_df(cells, phases=table)  # doctest: +SKIP
    """
    folder = obtain("mipe", [_FILE], path)
    file = require(folder, [_FILE, "*drug-metadata*", "*mipe*"], what="the table of drugs")
    columns = ("sample_name", "alias", "development_phase", "gene_symbol_1", "general_indication")
    found = read_table(file, columns=columns, text=True, ids=("sample_name",)).fillna("")
    text = lambda column: found[column].str.strip() if column in found else ""
    genes = found[[column for column in _GENES if column in found]]
    table = found[[]].assign(
        name=text("sample_name"),
        synonyms=text("alias"),
        status=text("development_phase"),
        phase=text("development_phase").str.lower().map(_PHASES).astype(float),
        targets=[", ".join(symbol.strip() for symbol in row if symbol.strip()) for row in genes.to_numpy()],
        mechanism=text("moa1"),
        field=text("general_indication"),
    )
    table.attrs["dataset"] = card("mipe", [file])
    return table
