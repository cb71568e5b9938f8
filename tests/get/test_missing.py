"""Missing pairs are ranked by predictions, and nothing that was measured is among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scdrug


@pytest.fixture
def screen():
    """Predictions that anyone can rank."""
    adata = scdrug.datasets.toy(n_lines=40, n_drugs=3)
    response = adata.obsm["response"]
    values = np.random.default_rng(0).normal(size=response.shape)
    adata.obsm["predicted_response"] = pd.DataFrame(values, index=response.index, columns=response.columns)
    adata.uns["predicted_response"] = {"direction": "lower is more sensitive", "measure": "ln_IC50", "unit": "ln(µM)"}
    return adata


def test_only_untested_pairs_are_ranked_from_the_most_sensitive(screen) -> None:
    table = scdrug.get.missing_pairs_df(screen, n_lines=None)
    response, predicted = screen.obsm["response"], screen.obsm["predicted_response"]
    assert len(table) == int(response.isna().to_numpy().sum())
    for drug, part in table.groupby("drug"):
        assert response.loc[part["line"], drug].isna().all()
        np.testing.assert_allclose(part["predicted"], predicted.loc[part["line"], drug])
        assert part["predicted"].is_monotonic_increasing
        assert part["rank"].tolist() == list(range(1, len(part) + 1))


def test_higher_is_more_sensitive_turns_the_order(screen) -> None:
    up = scdrug.get.missing_pairs_df(screen, n_lines=None)
    screen.uns["predicted_response"]["direction"] = "higher is more sensitive"
    down = scdrug.get.missing_pairs_df(screen, n_lines=None)
    first = up.drug.iloc[0]
    assert up[up.drug == first]["line"].tolist() == down[down.drug == first]["line"].tolist()[::-1]


def test_the_share_among_tested_lines_is_counted(screen) -> None:
    drug = screen.obsm["response"].columns[1]
    row = scdrug.get.missing_pairs_df(screen, drugs=drug, n_lines=1).iloc[0]
    tested = screen.obsm["response"][drug].notna()
    others = screen.obsm["predicted_response"].loc[tested, drug]
    assert row["among_tested"] == pytest.approx((others > row["predicted"]).mean())


def test_a_complete_drug_has_no_rows(screen) -> None:
    screen.obsm["response"].iloc[:, 0] = 0.0
    table = scdrug.get.missing_pairs_df(screen, drugs=screen.obsm["response"].columns[0])
    assert table.empty
    assert list(table.columns) == ["drug", "name", "line", "rank", "predicted", "among_tested"]


def test_what_is_missing_is_said(screen) -> None:
    with pytest.raises(KeyError, match="5-fluorouracil"):
        scdrug.get.missing_pairs_df(screen, drugs="5-fluorouracl")
    del screen.obsm["predicted_response"]
    with pytest.raises(KeyError, match=r"model.predict\(adata\)"):
        scdrug.get.missing_pairs_df(screen)
