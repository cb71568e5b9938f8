"""Which screens the responses of a reference come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._constants import KEYS

if TYPE_CHECKING:
    from anndata import AnnData

#: Column of the drug table that names the screen of a drug's responses.
SCREEN = "screen"


def second_screen(adata: AnnData, drugs: pd.Index) -> tuple[np.ndarray | None, np.ndarray]:
    """Responses that drugs of a reference have in a second screen.

    Parameters
    ----------
    adata
        Bulk reference, of :func:`scdrug.pp.join_screens` if there are two.
    drugs
        Ids of its drugs.

    Returns
    -------
    Lines × shared drugs, NaN where not measured (`None` without a second screen), and positions of these drugs.
    """
    table = adata.obsm.get(KEYS.SECOND)
    if table is None:
        return None, np.zeros(0, dtype=int)
    table = table.loc[:, table.columns.isin(drugs) & table.notna().any(axis=0).to_numpy()]
    shared = drugs.get_indexer(table.columns)
    return (table.to_numpy(dtype=np.float64), shared) if len(shared) else (None, shared)


def screen_numbers(drugs: pd.DataFrame, shared: np.ndarray) -> np.ndarray:
    """Number of the screen of each drug: 0 for the first, whose drugs others have repeated, or which has most."""
    if SCREEN not in drugs:
        return np.zeros(len(drugs), dtype=np.int32)
    names = drugs[SCREEN].astype(str)
    first = (names.iloc[shared] if len(shared) else names).mode().iloc[0]
    others = sorted(set(names) - {first})
    return names.map({first: 0} | {name: number for number, name in enumerate(others, start=1)}).to_numpy(
        dtype=np.int32
    )
