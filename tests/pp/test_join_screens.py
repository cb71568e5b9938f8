"""Two screens in one reference."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, model
from scdrug.pp import join_screens


@pytest.fixture
def screens() -> tuple[ad.AnnData, ad.AnnData]:
    """Lines 0-79 and 40-119 of one toy screen; the second has drugs 4-11, one under another name, and another assay."""
    toy = datasets.toy()
    first, second = toy[:80].copy(), toy[40:].copy()
    first.obsm["response"] = first.obsm["response"].iloc[:, :8]
    rng = np.random.default_rng(0)
    response = second.obsm["response"].iloc[:, 4:]
    response = 0.5 * response + 2 + 0.1 * rng.normal(size=response.shape)
    renamed = response.columns[0]
    table = second.uns["drugs"].rename(index={renamed: "other-name"})
    table.loc["other-name", "name"] = "Other name"
    second.uns["drugs"] = table
    second.obsm["response"] = response.rename(columns={renamed: "other-name"})
    return first, second


def test_what_both_measured_stands_beside_what_the_first_did(screens) -> None:
    first, second = screens
    before = first.obsm["response"].copy(), second.obsm["response"].copy()
    joined = join_screens(first, second, names=("new", "old"))
    assert joined.shape == (120, first.n_vars)
    response, other = joined.obsm["response"], joined.obsm["second_response"]
    assert list(response.columns) == [*first.obsm["response"].columns, *second.obsm["response"].columns[4:]]
    assert list(other.columns) == list(first.obsm["response"].columns[4:]), "one is told by its structure alone"
    pd.testing.assert_frame_equal(
        response.loc[first.obs_names, first.obsm["response"].columns], before[0], check_index_type=False
    )
    assert response.loc[second.obs_names[40:], first.obsm["response"].columns].isna().all(axis=None)
    np.testing.assert_array_equal(other.loc[second.obs_names], before[1].iloc[:, :4])
    np.testing.assert_array_equal(joined[second.obs_names].X, second.X)
    drugs = joined.uns["drugs"]
    assert drugs["screen"].tolist() == ["new"] * 8 + ["old"] * 4
    shared = (before[0].iloc[40:, 4:].notna().to_numpy() & before[1].iloc[:40, :4].notna().to_numpy()).sum(axis=0)
    assert drugs["n_shared"].tolist() == [0] * 4 + shared.tolist() + [0] * 4
    expected = before[0].iloc[40:, 5].corr(before[1].iloc[:40, 1])
    assert drugs["screen_r"].iloc[5] == pytest.approx(expected)
    assert drugs["screen_r"].isna().tolist() == [True] * 4 + [False] * 4 + [True] * 4
    pd.testing.assert_frame_equal(first.obsm["response"], before[0], check_index_type=False)
    pd.testing.assert_frame_equal(second.obsm["response"], before[1], check_index_type=False)


def test_the_result_trains_a_model_that_keeps_the_evidence(screens, tmp_path: Path) -> None:
    joined = join_screens(*screens, names=("new", "old"))
    joined.write_h5ad(tmp_path / "both.h5ad")
    joined = ad.read_h5ad(tmp_path / "both.h5ad")
    model.KernelRidge.setup_anndata(joined)
    trained = model.KernelRidge(joined, denoise=1.0, drug_kernel="tanimoto")
    trained.train()
    trained.save(tmp_path / "model")
    drugs = model.load_pretrained(tmp_path / "model").drugs
    assert drugs["screen"].tolist() == ["new"] * 8 + ["old"] * 4
    assert drugs["held_out_r"].median() > 0.3
    pd.testing.assert_frame_equal(drugs, trained.drugs)
    predicted = trained.predict(joined, drugs={"x": "CCO"}, key_added=None)["x"]
    # mean responses of the old screen are two units higher; a new drug is predicted for the new one
    alone = screens[0].copy()
    model.KernelRidge.setup_anndata(alone)
    single = model.KernelRidge(alone, denoise=1.0, drug_kernel="tanimoto")
    single.train()
    assert abs(predicted.mean() - single.predict(joined, drugs={"x": "CCO"}, key_added=None)["x"].mean()) < 1.0


def test_the_second_screen_teaches_the_first(screens) -> None:
    """Lines that only the second measured are told by it."""
    first, second = screens
    truth = datasets.toy().obsm["response"]
    new = second.obs_names[40:]
    joined, errors = join_screens(first, second), []
    for reference in (first, joined):
        reference = reference.copy()
        model.KernelRidge.setup_anndata(reference)
        trained = model.KernelRidge(reference, denoise=1.0)
        trained.train()
        predicted = trained.predict(joined[new].copy(), key_added=None)[first.obsm["response"].columns]
        errors.append(predicted.corrwith(truth.loc[new, predicted.columns]).mean())
    assert errors[1] > errors[0]


def test_screens_that_do_not_fit_are_refused(screens) -> None:
    first, second = screens
    other = second.copy()
    other.uns["response"] = other.uns["response"] | {"measure": "AUC", "unit": "fraction"}
    with pytest.raises(ValueError, match="one measure, unit, direction"):
        join_screens(first, other)
    with pytest.raises(ValueError, match="tell the screens apart"):
        join_screens(first, second, names=("one", "one"))
    other = second.copy()
    other.obs_names = [f"x{number}" for number in range(other.n_obs)]
    with pytest.raises(ValueError, match="0 lines"):
        join_screens(first, other)
    with pytest.raises(ValueError, match="`second` has no lines"):
        join_screens(first, second[:0].copy())
    other = second.copy()
    del other.obsm["response"]
    with pytest.raises(KeyError, match="response"):
        join_screens(first, other)


@pytest.mark.slow
def test_both_releases_of_gdsc(shared_data: Path) -> None:
    both = datasets.gdsc("both", path=shared_data / "gdsc")
    assert both.obsm["response"].shape == (944, 410)
    assert both.obsm["second_response"].shape == (944, 123)
    drugs = both.uns["drugs"]
    assert drugs["screen"].value_counts().to_dict() == {"GDSC2": 228, "GDSC1": 182}
    assert drugs["screen_r"].mean() == pytest.approx(0.465, abs=0.002)
    assert (drugs["targets"] != "").sum() > 390
