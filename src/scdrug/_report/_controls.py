"""Controls of the model, each as observed beside chance."""

from __future__ import annotations

import pandas as pd

from ._read import Results
from ._tables import Column, Table, fixed, show

_COLUMNS = (
    Column("control", "control", "What was taken from the model, or what is known of the answer."),
    Column("asks", "asks", "What the control asks."),
    Column("statistic", "measured by", "flat: correlation over lines and drugs; contrast: the same without the mean of each drug."),
    Column("observed", "observed", "With the true responses and names of genes.", "number"),
    Column("beside", "beside chance", "Observed (line) beside the range that chance gives in 95% of the cases (grey), from 0 to 1.", "strip"),
    Column("null", "by chance", "Mean of what chance gives.", "number"),
    Column("interval", "range", "95% of what chance gives."),
    Column("holds", "holds", "Whether observed lies above that range.", "yes"),
)  # fmt: skip
_ASKS = {
    "permuted responses": "Would the model say the same if there were nothing to learn?",
    "exchanged genes": "Would it believe cells whose genes have wrong names?",
    "HER2 and lapatinib": "Does it find the lines whose ERBB2 is amplified, for the drug that blocks its kinase?",
}
#: What stands above the table.
NOTE = (
    "The recipe of the model was trained without the lines of the cells that it was asked about, and once more where chance alone "
    "decides. This is about the model, not about the cells of this page."
)


def controls_table(results: Results) -> Table | None:
    """The table, if there are controls."""
    if results.controls is None:
        return None
    table = results.controls
    shown = table.assign(
        asks=table["control"].map(_ASKS).fillna(""),
        interval=[
            f"{fixed(low)} to {fixed(high)}" for low, high in zip(table["null_low"], table["null_high"], strict=True)
        ],
        beside=list(zip(table["null_low"], table["null_high"], table["observed"], strict=True)),
    )
    return show(shown, _COLUMNS, id="controls", caption="Controls of the model, observed beside chance")


def failed(table: pd.DataFrame) -> list[str]:
    """Controls of which what was observed may be chance."""
    rows = table[~table["holds"].astype(str).isin(("True", "true", "1", "1.0"))]
    return [f"{row.control} ({row.statistic})" for row in rows.itertuples()]
