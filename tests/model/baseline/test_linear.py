"""A linear model of a folder predicts without its class what the class predicts."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.model._pretrained import load_predictor
from scdrug.model.baseline._linear import LinearModel

#: What predicting by a bundled linear model does without.
NOT_NEEDED = {"captum", "lightning", "mudata", "rdkit", "scanpy", "scvi", "sklearn", "torch", "torch_geometric"}
_COLD = """
import importlib.util, json, sys, warnings
import anndata, numpy, pandas
warnings.simplefilter("ignore")
import scdrug
from scdrug.model._pretrained import find_model
from scdrug.model._storage import read_config
genes = read_config(find_model("default"))["reference"]["genes"]
counts = numpy.random.default_rng(0).poisson(1.0, (30, len(genes))).astype("float32")
cells = anndata.AnnData(counts, obs=pandas.DataFrame({"group": ["a", "b"] * 15}, index=map(str, range(30))))
cells.var_names = genes
scdrug.tl.predict_response(cells, drugs=["trametinib", "gefitinib"])
scdrug.get.group_response_df(cells, "group")
scdrug.tl.predict_groups(cells, "group", drugs="trametinib")
if importlib.util.find_spec("infercnvpy"):
    scdrug.datasets.oligodendroglioma()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module", params=[None, 5], ids=["weights", "factors"])
def saved(request, tmp_path_factory):
    """A model with drugs to add, trained and saved, and its folder."""
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference, drug_kernel="tanimoto", rank=request.param)
    model.train()
    folder = tmp_path_factory.mktemp("models") / "linear"
    model.save(folder)
    return scdrug.model.KernelRidge.load(folder), folder


def _predicted(model, **options) -> ad.AnnData:
    cells = scdrug.datasets.toy_cells(n_cells=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.predict_response(cells, model, **options)
    return cells


@pytest.mark.slow
def test_a_bundled_linear_model_predicts_without_heavy_packages() -> None:
    done = subprocess.run([sys.executable, "-c", _COLD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"scdrug", "numba"} <= loaded
    assert not loaded & NOT_NEEDED


@pytest.mark.parametrize(
    "drugs",
    [
        None,
        ["trametinib", "paclitaxel"],
        ["trametinib", "CCOc1ccccc1"],
        {"mine": {"smiles": "CCOc1ccccc1", "targets": "EGFR"}},
    ],
    ids=["all", "named", "a known and a new one", "new"],
)
def test_a_folder_predicts_what_its_class_predicts(saved, drugs) -> None:
    model, folder = saved
    assert isinstance(load_predictor(folder), LinearModel)
    by_class, by_folder = _predicted(model, drugs=drugs), _predicted(folder, drugs=drugs)
    for key in ("predicted_response", "response_percentile", "response_evidence"):
        pd.testing.assert_frame_equal(by_class.obsm[key], by_folder.obsm[key], rtol=1e-5, atol=1e-5)
    first, second = (cells.uns["predicted_response"] for cells in (by_class, by_folder))
    assert first["model_class"] == second["model_class"] == "KernelRidge"
    assert set(first) == set(second)
    pd.testing.assert_frame_equal(first["drugs"], second["drugs"], rtol=1e-4, atol=1e-5)


def test_other_models_of_folders_are_loaded_by_their_class(tmp_path) -> None:
    reference = scdrug.datasets.toy()
    for options in ({"kernel": "rbf"}, {"couple_drugs": True}):
        scdrug.model.KernelRidge.setup_anndata(reference)
        model = scdrug.model.KernelRidge(reference, **options)
        model.train()
        folder = tmp_path / next(iter(options))
        model.save(folder)
        assert isinstance(load_predictor(folder), scdrug.model.KernelRidge)


def test_unknown_drugs_are_refused_alike(saved) -> None:
    model, folder = saved
    messages = []
    for one in (model, folder):
        with pytest.raises(KeyError) as raised:
            _predicted(one, drugs="trametinip")
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert "trametinib" in messages[0]


def test_a_damaged_folder_is_refused_alike(saved, tmp_path) -> None:
    _, folder = saved
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    for load in (scdrug.model.load_pretrained, load_predictor):
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(copy)
    config = json.loads((copy / "model.json").read_text())
    config["init"]["drug_ridge"] = "none at all"
    (copy / "model.json").write_text(json.dumps(config))
    for load in (scdrug.model.load_pretrained, load_predictor):
        with pytest.raises(ValueError, match=r"model\.json.*init"):
            load(copy)


def test_ranks_among_quantiles_are_those_of_interpolation(saved) -> None:
    """Ties count half: a value that many lines share lies in their middle."""
    model, _ = saved
    rng = np.random.default_rng(0)
    quantiles = np.sort(np.round(rng.normal(size=(101, 3)), 1), axis=0)
    calibration = type(model.calibration)(quantiles.astype(np.float32), np.zeros(3), 0.9, True)
    values = np.concatenate([quantiles[::7], rng.normal(scale=2, size=(20, 3)), np.full((1, 3), np.nan)])
    found = calibration.percentile(values.astype(np.float32), np.arange(3), lower_is_sensitive=False)
    for drug in range(3):
        steps, asked = quantiles[:, drug].astype(np.float32), values[:, drug].astype(np.float32)
        first, last = (np.searchsorted(steps, asked, side=side) for side in ("left", "right"))
        between = np.interp(asked, steps, np.linspace(0, 1, 101))
        np.testing.assert_allclose(found[:, drug], np.where(last > first, (first + last - 1) / 200, between), atol=1e-6)
    np.testing.assert_allclose(
        calibration.percentile(values.astype(np.float32), np.arange(3), lower_is_sensitive=True), 1 - found, atol=1e-6
    )
