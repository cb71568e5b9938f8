"""Hand-offs to other packages: the page's lines run as they stand, and what they rest on holds."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest
from mudata import MuData

import scdrug

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "interoperability.md"
OPTIONAL = {"squidpy", "decoupler", "pertpy", "spatialdata"}


@pytest.fixture(scope="module")
def ridge():
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    return model


@pytest.fixture
def cells() -> ad.AnnData:
    return scdrug.datasets.toy_cells(n_cells=60)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_lines_of_the_page_run_as_they_stand(monkeypatch) -> None:
    """Blocks that import a package that is not installed are left out, and so are names that only they define."""
    monkeypatch.setattr(scdrug.settings, "progress", False)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S):
        wanted = set(re.findall(r"^import (\w+)", block, flags=re.M)) & OPTIONAL
        if all(find_spec(name) for name in wanted):
            exec(compile(block, str(PAGE), "exec"), names)
    plt.close("all")
    assert {"Trametinib", "KRAS_SIGNALING_UP"} <= set(names["cells"].obs)
    assert "predicted_response" in names["mdata"]["rna"].obsm
    assert names["own"].varm["pathway_mask"].shape[1] == 2
    assert names["of_drugs"].shape == (12, 200)


# ---------------------------------------------------------------------- MuData


def _mudata(cells: ad.AnnData, name: str = "rna", *others: str) -> MuData:
    rng = np.random.default_rng(0)
    parts = {other: ad.AnnData(rng.random((cells.n_obs, 5)), obs=cells.obs[[]].copy()) for other in others}
    for other, part in parts.items():
        part.var_names = [f"{other}-{i}" for i in range(5)]
    return MuData({name: cells, **parts})


@pytest.mark.parametrize(
    ("name", "given"), [("rna", None), ("GEX", None), ("Gene Expression", None), ("cells", "cells")]
)
def test_the_modality_is_found_or_named_and_gets_what_its_cells_alone_would(cells, ridge, name, given) -> None:
    alone = scdrug.tl.predict_response(cells, ridge, copy=True)
    mdata = _mudata(cells, name, "atac")
    assert scdrug.tl.predict_response(mdata, ridge, modality=given) is None
    np.testing.assert_array_equal(mdata[name].obsm["predicted_response"], alone.obsm["predicted_response"])
    assert not mdata["atac"].obsm and "predicted_response" not in mdata.obsm


def test_a_copy_of_a_mudata_is_a_mudata_and_leaves_the_first_as_it_was(cells, ridge) -> None:
    mdata = _mudata(cells, "rna", "atac")
    copy = scdrug.tl.predict_response(mdata, ridge, copy=True)
    assert isinstance(copy, MuData) and "predicted_response" in copy["rna"].obsm
    assert "predicted_response" not in mdata["rna"].obsm and "response_reliability" not in mdata["rna"].obs


def test_results_in_a_modality_survive_its_file(cells, ridge, tmp_path) -> None:
    import mudata

    mdata = _mudata(cells, "rna", "atac")
    scdrug.tl.predict_response(mdata, ridge)
    mdata.write_h5mu(tmp_path / "cells.h5mu")
    again = mudata.read_h5mu(tmp_path / "cells.h5mu")
    scdrug.tl.rank_drugs(again["rna"], "clone", min_cells=5)
    assert len(scdrug.get.rank_drugs_df(again["rna"]))


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (("rna", "gex"), None, "Modalities 'rna', 'gex' are all called like gene expression.*`modality='rna'`"),
        (("cells", "atac"), None, "None of the modalities 'cells', 'atac' is called like gene expression"),
        (("rna", "atac"), "rnaa", "`modality` must be one of 'rna', 'atac'"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused_with_what_to_name(cells, ridge, names, given, message) -> None:
    mdata = _mudata(cells, *names)
    with pytest.raises(ValueError, match=message):
        scdrug.tl.predict_response(mdata, ridge, modality=given)


def test_a_modality_of_an_anndata_is_refused_and_a_single_one_needs_no_name(cells, ridge) -> None:
    with pytest.raises(ValueError, match="`modality='rna'` is for a MuData"):
        scdrug.tl.predict_response(cells, ridge, modality="rna")
    single = MuData({"tumour": cells})
    scdrug.tl.predict_response(single, ridge)
    assert "predicted_response" in single["tumour"].obsm


# ---------------------------------------------------------------------- columns for plots


@pytest.fixture(scope="module")
def predicted(ridge) -> ad.AnnData:
    cells = scdrug.datasets.toy_cells(n_cells=60)
    scdrug.tl.predict_response(cells, ridge)
    cells.obsm["pathway_activity"] = cells.obsm["true_pathway_activity"]
    return cells


def test_columns_are_called_as_asked_for_and_hold_what_is_stored(predicted) -> None:
    pathway = predicted.obsm["pathway_activity"].columns[0]
    asked = ["clone", "GSK1120212", pathway, "paclitaxel"]
    table = scdrug.get.obs_df(predicted, asked)
    assert list(table) == asked and table.index.equals(predicted.obs_names)
    np.testing.assert_array_equal(table["GSK1120212"], predicted.obsm["response_percentile"]["trametinib"])
    np.testing.assert_array_equal(table[pathway], predicted.obsm["pathway_activity"][pathway])
    response = scdrug.get.obs_df(predicted, "trametinib", use="response")
    np.testing.assert_array_equal(response["trametinib"], predicted.obsm["predicted_response"]["trametinib"])
    table["paclitaxel"] = 0
    assert predicted.obsm["response_percentile"]["paclitaxel"].any()


def test_what_is_unknown_is_named_with_the_nearest(predicted) -> None:
    with pytest.raises(KeyError, match="trametinib"):
        scdrug.get.obs_df(predicted, ["tramettinib"])
    with pytest.raises(KeyError, match="nearest is 'malignant'"):
        scdrug.get.obs_df(predicted, "malignantt")
    with pytest.raises(KeyError, match="no drugs were predicted.*Run scdrug.tl.predict_response"):
        scdrug.get.obs_df(scdrug.datasets.toy_cells(n_cells=12), "trametinib")


# ---------------------------------------------------------------------- places in a tissue


def test_a_tissue_is_drawn_with_one_unit_and_y_downwards(predicted) -> None:
    predicted.obsm["spatial"] = np.random.default_rng(0).uniform(0, [200, 50], size=(60, 2))
    predicted.obsm["X_pca"] = predicted.obsm["spatial"]
    tissue = scdrug.pl.response(predicted, "trametinib", basis="spatial")
    assert tissue.get_aspect() == 1 and tissue.yaxis_inverted() and tissue.get_box_aspect() is None
    other = scdrug.pl.response(predicted, "trametinib", basis="pca")
    assert other.get_box_aspect() == 1 and not other.yaxis_inverted()
    plt.close("all")
