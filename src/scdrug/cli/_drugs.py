"""Search drugs without loading a model: their table stands in its JSON file."""

from __future__ import annotations

import pandas as pd

from .._validate import nearest
from ..model._pretrained import find_model
from ..model._storage import read_config

_COLUMNS = ["id", "name", "targets", "pathway"]


def search_drugs(text: str, model: str = "default") -> pd.DataFrame:
    """Drugs whose id, name, target or pathway contains `text`, else those spelled like it (id, name, targets, pathway)."""
    table = pd.DataFrame(read_config(find_model(model))["reference"]["drugs"])[_COLUMNS].astype(str)
    simple = text.strip().lower()
    contains = table.apply(lambda column: column.str.lower().str.contains(simple, regex=False)).any(axis=1)
    if contains.any():
        return table[contains]
    return table[table["name"].isin(nearest(text, table["name"], n=5))]
