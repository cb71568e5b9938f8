"""The model of the developer page, taken from the page and put into the package as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scdrug import benchmark, datasets, model, tl
from scdrug.model._registry import CLASSES, load_class

PAGE = Path(__file__).parents[2] / "docs" / "developer.md"


@pytest.fixture
def fifth(tmp_path, monkeypatch):
    """Its class, registered as the page says."""
    text = re.search(r"```python\n(\"\"\"A drug attends.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert len(text.splitlines()) < 120
    folder = tmp_path / "module_attention"
    folder.mkdir()
    (folder / "_model.py").write_text(text, encoding="utf-8")
    (folder / "__init__.py").write_text("from ._model import ModuleAttention\n", encoding="utf-8")
    monkeypatch.setattr(model, "__path__", [*model.__path__, str(tmp_path)])
    monkeypatch.setitem(CLASSES, "ModuleAttention", "module_attention")
    monkeypatch.setattr(model, "MODEL_CLASSES", tuple(CLASSES))
    monkeypatch.setattr(model, "ModuleAttention", load_class("ModuleAttention"), raising=False)
    yield model.ModuleAttention
    for name in [name for name in sys.modules if name.startswith("scdrug.model.module_attention")]:
        del sys.modules[name]


def _train(fifth, prior: str | None):
    reference = datasets.toy(n_lines=60)
    fifth.setup_anndata(reference)
    trained = fifth(reference, prior=prior, n_modules=8)
    trained.train(max_epochs=30)
    return trained, reference


@pytest.mark.parametrize("prior", [None, "process"])
def test_it_predicts_known_and_new_drugs_and_comes_back_from_files(fifth, prior: str | None, tmp_path) -> None:
    trained, reference = _train(fifth, prior)
    known = trained.predict(key_added=None)
    assert np.corrcoef(known.to_numpy().ravel(), reference.obsm["response"].fillna(0).to_numpy().ravel())[0, 1] > 0.5
    asked = {"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}
    new = trained.predict(drugs=asked, key_added=None)
    trained.save(tmp_path / "saved")
    again = model.load_pretrained(tmp_path / "saved")
    pd.testing.assert_frame_equal(again.predict(reference.copy(), key_added=None), known, atol=1e-3)
    pd.testing.assert_frame_equal(again.predict(reference.copy(), drugs=asked, key_added=None), new, atol=1e-3)
    cells = datasets.toy_cells()
    tl.predict_response(cells, again)
    share = cells.uns["predicted_response"]["network_share"]
    assert share == 1 if prior is None else 0 <= share <= 1


def test_a_prediction_is_the_prior_and_a_share_of_what_the_network_says_else(fifth) -> None:
    trained, reference = _train(fifth, "process")
    trained.shares_ = type(trained.shares_).all(0.25)
    both, network, prior = (trained.predict(part=part, key_added=None) for part in (None, "network", "prior"))
    pd.testing.assert_frame_equal(both, prior + 0.25 * (network - prior), atol=1e-4)
    assert not np.allclose(network, prior, atol=0.1)


def test_it_is_benchmarked_and_attributed(fifth, tmp_path) -> None:
    trained, reference = _train(fifth, None)
    spec = benchmark.ModelSpec("attention", "ModuleAttention", params={"n_modules": 4}, train={"max_epochs": 2})
    splits = benchmark.make_splits(reference, "line", n_folds=2, seed=0)
    results = benchmark.run(reference, splits, spec, out=tmp_path / "out", progress=False)
    rmse = results.scores.query("metric == 'rmse'")["value"]
    assert len(rmse) == 2
    assert np.isfinite(rmse).all()
    cells = datasets.toy_cells()
    drug = trained.drugs.index[0]
    tl.attribute_genes(cells, trained, drug, n_steps=10)
    genes = cells.uns["gene_ig"]
    assert genes["summary"]["completeness_error"].max() < 0.05
    with pytest.raises(TypeError, match="Genes are attributed to by"):
        tl.attribute_genes(cells, _train(fifth, "process")[0], drug)
