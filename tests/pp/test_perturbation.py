"""Controls beside treated profiles; doses and times in one unit."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, pp
from scdrug.pp._interactions import panel_edges, read_edges
from scdrug.pp._landmarks import landmark_genes
from scdrug.pp._perturbation import read_perturbations


def profiles() -> ad.AnnData:
    obs = pd.DataFrame(
        {
            "control": [True, True, True, False, False, False],
            "plate": ["a", "a", "b", "a", "b", "c"],
            "cell_line": "A549",
            "smiles": ["", "", "", "CCO", "CCN", "CCC"],
            "dose": [0.0, 0.0, 0.0, 1.0, 500.0, 2.0],
            "time": 6.0,
        },
        index=list("uvwxyz"),
    )
    return ad.AnnData(np.arange(12, dtype=np.float32).reshape(6, 2), obs=obs, var=pd.DataFrame(index=["EGFR", "KRAS"]))


def test_controls_come_from_the_same_plate_and_the_lonely_are_counted() -> None:
    adata = profiles()
    with pytest.warns(
        UserWarning, match="1 of 3 treated profiles have no control with the same plate and cell_line.*'z'"
    ):
        pp.pair_controls(adata)
    np.testing.assert_array_equal(adata.layers["control"][3:5], [[1, 2], [4, 5]])
    assert np.isnan(adata.layers["control"][[0, 1, 2, 5]]).all()
    assert list(adata.obs["n_controls"]) == [0, 0, 0, 2, 1, 0]
    data = read_perturbations(adata, dose_unit="nM", time_unit="min")
    np.testing.assert_allclose(data.conditions["dose"], [0.001, 0.5])
    np.testing.assert_allclose(data.conditions["time"], [0.1, 0.1])
    np.testing.assert_array_equal(data.treated, [[6, 7], [8, 9]])


def test_without_controls_there_is_nothing_to_pair() -> None:
    for value, message in ((False, "no control"), (True, "nothing but controls")):
        adata = profiles()
        adata.obs["control"] = value
        with pytest.raises(ValueError, match=message):
            pp.pair_controls(adata)
    adata = profiles()
    with pytest.raises(ValueError, match="Name the columns"):
        adata.obs["well"] = list("123456")
        pp.pair_controls(adata, by="well")
    with pytest.raises(KeyError, match="pair_controls makes it"):
        read_perturbations(profiles())


@pytest.mark.parametrize(
    ("dose", "unit", "expected"),
    [
        (["1 µM", "500 nM", "2e-3 mM"], None, [1, 0.5, 2]),
        (["1", "500", "2"], "nM", [0.001, 0.5, 0.002]),
        ([1.0, 2.0, 3.0], "um", [1, 2, 3]),
    ],
)
def test_doses_are_read_with_the_unit_they_name(dose, unit, expected) -> None:
    adata = datasets.toy_perturbations(n_profiles=12)
    adata = adata[~adata.obs["control"].to_numpy()][:3].copy()
    del adata.uns["perturbation"]
    adata.obs["dose"] = dose
    found = read_perturbations(adata, dose_unit=unit, time=1.0, time_unit="d")
    np.testing.assert_allclose(found.conditions["dose"], expected)
    np.testing.assert_allclose(found.conditions["time"], 24)


@pytest.mark.parametrize(
    ("dose", "unit", "message"),
    [
        ([1.0, 2.0, 3.0], None, "unit of `dose` is not known"),
        ([1.0, -2.0, 3.0], "uM", "negative or not numbers: '-2.0'"),
        ([1.0, np.nan, 3.0], "uM", "negative or not numbers"),
        (["1 µM", "2", "3 µM"], None, "Some values of `dose` name a unit"),
        (["high", "low", "low"], None, "cannot be read: 'high', 'low'"),
        ([1.0, 2.0, 3.0], "mg", "'mg' is no unit of `dose`"),
    ],
)
def test_doses_that_mean_nothing_are_refused(dose, unit, message) -> None:
    adata = datasets.toy_perturbations(n_profiles=12)
    adata = adata[~adata.obs["control"].to_numpy()][:3].copy()
    del adata.uns["perturbation"]
    adata.obs["dose"] = dose
    with pytest.raises(ValueError, match=message):
        read_perturbations(adata, dose_unit=unit, time_unit="h")


def test_networks_are_restricted_to_a_panel_and_strange_names_are_counted(tmp_path) -> None:
    edges = pd.DataFrame({"source": ["EGFR", "EGFR", "KRAS", "KRAS"], "target": ["KRAS", "EGFR", "EGFR", "TP53"]})
    np.testing.assert_array_equal(panel_edges(edges, ["TP53", "EGFR", "KRAS"]), [[0, 1], [2, 2]])
    strange = pd.DataFrame({"source": ["EGFR", "YAL001C"], "target": ["KRAS", "YBR002W"]})
    with pytest.warns(UserWarning, match="2 of 4 names in the network are no human genes"):
        panel_edges(strange, ["EGFR", "KRAS"])
    with pytest.warns(UserWarning, match="only 10% of the 20 genes"):
        panel_edges(edges, ["EGFR", "KRAS", *landmark_genes()[:18]])
    with pytest.raises(ValueError, match="No gene of the panel"):
        panel_edges(edges, ["BRAF"])
    edges.to_csv(tmp_path / "edges.tsv", sep="\t", index=False)
    pd.testing.assert_frame_equal(read_edges(tmp_path / "edges.tsv"), edges, check_dtype=False)
    with pytest.raises(KeyError, match="target"):
        panel_edges(edges.drop(columns="target"), ["EGFR"])


def test_real_profiles_are_paired_on_their_plates(shared_data) -> None:
    adata = datasets.l1000("ht115", path=shared_data / "l1000")
    pp.pair_controls(adata)
    data = read_perturbations(adata)
    assert len(data.conditions) == 661
    assert set(adata.obs["n_controls"]) == {0, 9, 11}
    assert data.conditions["time"].unique().tolist() == [6.0]
    assert (
        set(landmark_genes()) >= set(list(adata.var_names)[:5])
        or len(set(landmark_genes()) & set(adata.var_names)) > 900
    )
