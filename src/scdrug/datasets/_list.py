"""Table of the data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._settings import settings
from ._registry import registry

if TYPE_CHECKING:
    import pandas as pd


def list_datasets() -> pd.DataFrame:
    """List the files that can be fetched.

    Synthetic data (:func:`~scdrug.datasets.toy`, :func:`~scdrug.datasets.toy_cells`) and the tumour that comes with a
    package (:func:`~scdrug.datasets.oligodendroglioma`) need no fetching and are not listed.

    Returns
    -------
    One row for each file, indexed by the name under which :func:`~scdrug.datasets.fetch` takes it, with the columns
    ``dataset``, ``description``, ``loader`` (function of ``scdrug.datasets`` that reads it, or empty), ``size`` (bytes,
    missing where unknown), ``verified`` (whether a trusted hash is known), ``cached``, ``licence``, ``citation``,
    ``url`` (empty where the file must be placed by hand) and ``sha256``.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.datasets.list().loc["hallmark/h.all.v7.0.symbols.gmt", "loader"]
    'gene_sets'
    """
    import pandas as pd

    cache = settings.data_dir
    rows = {
        file.name: {
            "dataset": entry.name,
            "description": entry.description,
            "loader": entry.loader or "",
            "size": file.size,
            "verified": not file.unverified,
            "cached": (cache / entry.name / file.file).is_file(),
            "licence": entry.licence,
            "citation": entry.citation,
            "url": file.address,
            "sha256": file.sha256 or "",
        }
        for entry in registry().values()
        for file in entry.files
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.astype({"size": "Int64"}).rename_axis("name")
