"""Models that learn from unlabelled cells too: what the harness hands over, and the sets of He et al. 2025."""

from __future__ import annotations

import inspect
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import yaml

import scdrug
from scdrug.benchmark import ModelSpec, read_config, run_single_cell, score_labels
from scdrug.benchmark.transfer import _fit
from scdrug.datasets import _gene_sets as gene_sets
from scdrug.model.pathway_transfer._settings import resolve_settings

NETWORK = {"pathways": "toy", "min_genes": 4, "n_hidden": 8, "n_head": [8]}
ROOT = Path(__file__).parents[3]


def spec(name: str = "network", **params: object) -> ModelSpec:
    return ModelSpec(name, "PathwayTransfer", params={**NETWORK, **params}, train={"max_epochs": 2}, splits=[])


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch) -> None:
    monkeypatch.setattr(scdrug.settings, "progress", False)


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return scdrug.datasets.toy(n_lines=60)


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    cells = scdrug.datasets.toy_cells(n_cells=80)
    cells.obs["sensitive"] = (cells.obsm["true_response"]["trametinib"] < 0).astype(float)
    return cells


@pytest.fixture
def handed(monkeypatch) -> list[dict]:
    """Arguments of each model that is made."""
    seen: list[dict] = []
    init = scdrug.model.PathwayTransfer.__init__

    def spy(self, *arguments, cells=None, cells_method="quantile", **options):
        seen.append({"cells": cells, "method": cells_method, **options})
        init(self, *arguments, cells=cells, cells_method=cells_method, **options)

    spy.__signature__ = inspect.signature(init)
    monkeypatch.setattr(scdrug.model.PathwayTransfer, "__init__", spy)
    return seen


def test_a_model_that_asks_for_the_cells_gets_their_expression_and_nothing_else(reference, cells, handed) -> None:
    table = score_labels(
        spec(cells="assay"), reference, cells, drug="trametinib", exclude="TOY0001", n_bootstrap=0,
        options={"anchor": "mean"},
    )  # fmt: skip
    (given,) = handed
    assert given["method"] == "none"
    assert given["cells"].shape == (80, reference.n_vars)
    assert not len(given["cells"].obs.columns)
    assert not given["cells"].obsm.keys()
    training = reference[reference.obs_names != "TOY0001"].copy()
    expected = scdrug.pp.harmonize(cells, training, anchor="mean")
    np.testing.assert_allclose(given["cells"].X, expected.X, atol=1e-4)
    note = table[(table["level"] == "data") & (table["metric"] == "unlabelled cells")]
    assert note["value"].tolist() == [80]
    assert "transductive" in note["note"].iloc[0]


def test_a_model_that_does_not_ask_sees_no_cell(reference, cells, handed) -> None:
    table = score_labels(spec(), reference, cells, drug="trametinib", exclude=[], n_bootstrap=0)
    assert handed[0]["cells"] is None
    assert not (table["metric"] == "unlabelled cells").any()


def test_what_is_tuned_sees_the_cells_too(reference, cells, handed) -> None:
    tuned = ModelSpec(
        "tuned", "PathwayTransfer", params={**NETWORK, "cells": "assay"}, train={"max_epochs": 1},
        tune={"dropout": [0.1, 0.2]},
    )  # fmt: skip
    score_labels(tuned, reference, cells, drug="trametinib", exclude=[], n_bootstrap=0)
    assert [len(given["cells"]) for given in handed] == [80, 80, 80]


def test_cells_are_a_parameter_of_models_that_take_them() -> None:
    with pytest.raises(ValueError, match="KernelRidge has no parameter 'cells', given in `params` of 'ridge'"):
        ModelSpec("ridge", "KernelRidge", params={"cells": "assay"})
    with pytest.raises(
        ValueError, match="no argument of train\\(\\) 'cells'.*It is a parameter of the model: give it in `params`"
    ):
        ModelSpec("network", "PathwayTransfer", train={"cells": "assay"})


def test_splits_of_lines_have_no_cells(reference, tmp_path) -> None:
    asking = ModelSpec("network", "PathwayTransfer", params={**NETWORK, "cells": _fit.ASSAY})
    with pytest.raises((ValueError, RuntimeError), match="which only single-cell tasks have"):
        asking.fit(reference)
    content = {
        "data": {"dataset": "toy"},
        "splits": [{"kind": "line"}],
        "models": [{"model": "PathwayTransfer", "params": {"cells": "assay"}}],
    }
    path = tmp_path / "benchmark.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"Give it `splits: \[\]`"):
        read_config(path)
    content["models"][0]["splits"] = []
    path.write_text(yaml.safe_dump(content))
    assert read_config(path).models[0].params == {"cells": "assay"}


# ---------------------------------------------------------------------- sets of He et al. 2025


@pytest.fixture
def curated(monkeypatch, cells) -> list[tuple]:
    """A set in the place of one of figshare."""
    asked: list[tuple] = []

    def he2025(accession, *, path=None):
        asked.append((accession, path))
        adata = cells.copy()
        adata.uns["dataset"] = {"drug": "trametinib"}
        return adata

    monkeypatch.setattr(scdrug.datasets, "he2025", he2025, raising=False)
    return asked


def test_a_curated_set_is_scored_on_its_drug(reference, curated, tmp_path) -> None:
    (tmp_path / "he2025").mkdir()
    table = run_single_cell(
        [spec("one", cells="assay"), ModelSpec("ridge", "KernelRidge")],
        task="he2025",
        accession="GSE117872",
        one_drug=True,
        data=tmp_path,
        reference=reference,
        n_bootstrap=0,
    )
    assert curated == [("GSE117872", tmp_path / "he2025")]
    scores = table[(table["level"] == "cell") & (table["metric"] == "accuracy")].set_index("model")["value"]
    assert set(scores.index) == {"all sensitive", "one", "ridge"}
    assert scores.between(0, 1).all()
    drugs = table[(table["level"] == "data") & (table["metric"] == "drugs")]
    assert drugs["value"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "he2025"}, "needs `accession`"),
        ({"task": "he2025", "accession": "GSE108394"}, "`exclude` must name the lines"),
        ({"task": "a375", "accession": "GSE117872"}, "belong to the task 'he2025'"),
        ({"task": "sc_mixology", "one_drug": True}, "needs a task with labels"),
    ],
)
def test_arguments_that_do_not_fit_a_task_are_refused(reference, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        run_single_cell(ModelSpec("ridge", "KernelRidge"), reference=reference, **options)


# ---------------------------------------------------------------------- committed configurations


@pytest.mark.parametrize("name", ["pathway_sweep.yaml", "he2025_tables.yaml"])
def test_committed_configurations_hold_settings_that_the_model_takes(name) -> None:
    config = read_config(ROOT / "benchmarks" / name)
    used = [model for model in config.models if model.model == "PathwayTransfer"]
    assert len(used) > 5
    for model in used:
        choices = {**{key: [value] for key, value in model.params.items()}, **model.tune}
        for key, values in {"preset": ["default"], **choices}.items():
            for value in values:
                settings = {**model.params, key: value}
                chosen = resolve_settings(settings.get("preset", "default"), settings)
                assert chosen.variant != "full" or set(choices["pathways"]) <= set(gene_sets._NAMES)


def test_the_tables_of_the_paper_run_on_a_set_of_that_form(reference, curated, tmp_path, monkeypatch) -> None:
    """Tables 2 and 3 from the committed configuration, on synthetic data of the same form."""
    content = yaml.safe_load((ROOT / "benchmarks" / "he2025_tables.yaml").read_text())
    content["data"] = {"dataset": "toy", "n_lines": 60}
    for model in content["models"]:
        if model["model"] == "PathwayTransfer":
            model["params"] |= {"min_genes": 4, "n_hidden": 8}
            model["params"] |= {"pathways": "toy"} if "pathways" in model["params"] else {}
            model["train"] = {**model.get("train", {}), "max_epochs": 1}
    for task in content["single_cell"]:
        task |= {"seeds": [0], "n_bootstrap": 0}
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(content))
    results = scdrug.benchmark.run_config(path, tmp_path / "out", progress=False)
    table = results.single_cell
    accuracy = table[(table["level"] == "cell") & (table["metric"] == "accuracy")]
    assert set(accuracy["model"]) >= {model["name"] for model in content["models"]}
