"""Controls of a model, as observed beside chance, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import examples
from ..model._pretrained import bundled_controls
from ..tl._stored import read_predictions

if TYPE_CHECKING:
    from anndata import AnnData

_COLUMNS = ("control", "statistic", "observed", "null", "null_low", "null_high", "n_null", "holds")


@checked
def controls_df(adata: AnnData, *, key: str = KEYS.PREDICTED) -> pd.DataFrame:
    """Get the controls of the bundled model that made predictions: its recipe, as observed beside chance.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    A row for each control, as :func:`scdrug.benchmark.check_default` returns them: `control`, `statistic`, `observed`, `null` (mean under
    chance), `null_low`, `null_high` (95 %), `n_null`, and `holds`, whether observed lies above `null_high`.

    Raises
    ------
    KeyError
        If there are no predictions, or no controls are bundled with their model.

    See Also
    --------
    scdrug.benchmark.check_default : computes them, for any model.

    Notes
    -----
    They are about the recipe of the model, on cells of breast lines that it was not trained on (Gambardella et al. 2022), not about the
    cells in `adata`. ``scripts/check_controls.py`` computes and bundles them.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.oligodendroglioma()
    >>> scdrug.tl.predict_response(cells, drugs=["trametinib"])
    >>> scdrug.get.controls_df(cells)["holds"].tolist()
    [True, True, True, True]
    """
    name = str(read_predictions(adata, key).provenance["model"])
    table = bundled_controls(name)
    if table is None:
        raise KeyError(
            f"No controls are bundled with the model {name!r}. Compute them with scdrug.benchmark.check_default, and pass the table to "
            "scdrug.report(adata, path, controls=table)."
        )
    return table


def check_controls(table: pd.DataFrame) -> pd.DataFrame:
    """Check a table of controls that a caller passes.

    Raises
    ------
    ValueError
        If it lacks a column or a row, or what should be numbers is not.
    """
    lacking = [column for column in _COLUMNS if column not in table]
    if lacking or not len(table):
        found = f"it lacks the columns {examples(lacking)}" if lacking else "it has no row"
        raise ValueError(f"`controls` must be a table as scdrug.benchmark.check_default returns it; {found}.")
    numbers = ["observed", "null", "null_low", "null_high"]
    wrong = [name for name in numbers if pd.to_numeric(table[name], errors="coerce").isna().any()]
    if wrong:
        raise ValueError(f"`controls` must hold numbers in {examples(numbers)}; those of {examples(wrong)} are not.")
    return table.astype(dict.fromkeys(numbers, float)).reset_index(drop=True)
