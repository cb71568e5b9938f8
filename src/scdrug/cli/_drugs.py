"""Search drugs without loading a model: their table stands in its JSON file."""

from __future__ import annotations

import pandas as pd

from .._validate import nearest
from ..model._pretrained import find_model
from ..model._storage import read_config
from ..pp._drugs import resolve_drugs

_COLUMNS = ["id", "name", "targets", "pathway"]


def search_drugs(text: str, model: str = "default") -> pd.DataFrame:
    """Drugs whose id, name, target or pathway contains `text`, and those that it is another name of; else those spelled like it.

    Returns
    -------
    One row per drug: id, name, targets, pathway.
    """
    table = pd.DataFrame(read_config(find_model(model))["reference"]["drugs"]).astype(str)
    simple = text.strip().lower()
    shown = table[_COLUMNS]
    contains = shown.apply(lambda column: column.str.lower().str.contains(simple, regex=False)).any(axis=1)
    try:
        named = resolve_drugs([text], table.set_index("id").drop(columns="smiles"))
    except KeyError:
        named = []
    except ValueError:  # another name of several drugs, which the error lists
        if not contains.any():
            raise
        named = []
    found = contains | table["id"].isin(named)
    return shown[found] if found.any() else shown[shown["name"].isin(nearest(text, shown["name"], n=5))]
