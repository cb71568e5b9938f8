"""Controls of the default: nothing to learn, nothing to read, and a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from scdrug import datasets, model
from scdrug.benchmark import check_default


@pytest.fixture(scope="module")
def small(shared_data):
    """All lines of the screen, and the drugs that are predicted best, lapatinib among them."""
    reference = datasets.gdsc(path=shared_data / "gdsc")
    drugs = ["lapatinib", "afatinib", "trametinib", "nutlin-3a", "gefitinib", "dabrafenib", "venetoclax", "palbociclib"]
    known = [drug for drug in drugs if drug in reference.obsm["response"]]
    reference = reference[:, :2500].copy()
    reference.obsm["response"] = reference.obsm["response"][known]
    reference.uns["drugs"] = reference.uns["drugs"].loc[known]
    return reference


@pytest.mark.slow
def test_the_recipe_is_beyond_chance_in_each_control(small, shared_data) -> None:
    cells = datasets.breast_atlas(path=shared_data / "sc" / "bc_atlas")
    cells = cells[(cells.obs["reference_line"] != "").to_numpy()].copy()
    before = cells.copy()
    table = check_default("gdsc2-ridge", reference=small, cells=cells, n_permutations=2).set_index(
        ["control", "statistic"]
    )
    genes = table.loc[("exchanged genes", "reliability")]
    assert genes["null_high"] < 0.05 < genes["observed"] and genes["holds"]
    learned = table.loc[("permuted responses", "contrast")]
    assert learned["observed"] > learned["null_high"] and learned["n_null"] == 2
    known = table.loc[("HER2 and lapatinib", "auroc")]
    assert known["observed"] > 0.7 and known["null_low"] < 0.5 < known["null_high"] and abs(known["null"] - 0.5) < 0.05
    np.testing.assert_array_equal(cells.X.toarray(), before.X.toarray())
    assert list(cells.obs) == list(before.obs) and not cells.uns.keys() ^ before.uns.keys()


def test_it_is_repeatable_and_refuses_no_permutations(shared_data) -> None:
    reference, cells = datasets.toy(), datasets.toy_cells(n_cells=120)
    cells.obs["reference_line"] = (
        cells.obs["clone"].map({"clone-a": "TOY-0001", "clone-b": "TOY-0002"}).fillna("TOY-0003")
    )
    model.KernelRidge.setup_anndata(reference)
    recipe = model.KernelRidge(reference)
    recipe.train()
    options = {"reference": datasets.toy(), "cells": cells, "n_permutations": 1}
    first, second = (check_default(recipe, seed=3, **options) for _ in range(2))
    assert first.equals(second) and "HER2 and lapatinib" not in set(first["control"])
    with pytest.raises(ValueError, match="at least 1"):
        check_default(recipe, **{**options, "n_permutations": 0})
