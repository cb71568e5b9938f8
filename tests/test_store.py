"""Results replace nothing of the user's, go under keys that files can hold, and are stored all or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, get, model, pl, pp, settings, tl


@pytest.fixture(scope="module")
def trained() -> model.KernelRidge:
    reference = datasets.toy(n_lines=60)
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    return trained


@pytest.fixture(scope="module")
def core() -> model.CSG2A:
    settings.progress = False
    reference = datasets.toy(n_lines=60)
    model.CSG2A.setup_anndata(reference)
    core = model.CSG2A(reference, drug_features="morgan", n_genes=50)
    core.pretrain(datasets.toy_perturbations(), max_epochs=1)
    core.train(max_epochs=1)
    return core


def _cells() -> ad.AnnData:
    cells = datasets.toy_cells(n_cells=60)
    cells.obs["arm"] = np.where(np.arange(60) % 3 == 0, "vehicle", "drug")
    cells.obs["control"], cells.obs["plate"] = cells.obs["arm"].to_numpy() == "vehicle", "one"
    return cells


@pytest.fixture
def cells() -> ad.AnnData:
    return _cells()


def _quietly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


#: Functions with the arguments that they take beside `adata`, and what they store when `key_added="run"`.
CALLS: dict[str, tuple[Callable[..., Any], list[tuple[str, str]]]] = {
    "predict_response": (
        lambda a, t, c, **k: tl.predict_response(a, t, **k),
        [
            ("obsm", "run"),
            ("obsm", "run_percentile"),
            ("obsm", "run_evidence"),
            ("obs", "run_reliability"),
            ("uns", "run"),
        ],
    ),
    "predict_patients": (
        lambda a, t, c, **k: tl.predict_patients(a, t, cohort_key="sample", **k),
        [
            ("obsm", "run"),
            ("obsm", "run_percentile"),
            ("obsm", "run_evidence"),
            ("obs", "run_reliability"),
            ("uns", "run"),
        ],
    ),
    "embed": (lambda a, t, c, **k: tl.embed(a, t, **k), [("obsm", "run"), ("uns", "run")]),
    "rank_drugs": (lambda a, t, c, **k: tl.rank_drugs(a, "clone", **k), [("uns", "run")]),
    "attribute_genes": (
        lambda a, t, c, **k: tl.attribute_genes(a, t, "trametinib", **k),
        [("obsm", "run_trametinib"), ("uns", "run")],
    ),
    "rank_pathways": (lambda a, t, c, **k: tl.rank_pathways(a, "clone", key="gene_ig", **k), [("uns", "run")]),
    "predict_expression": (
        lambda a, t, c, **k: tl.predict_expression(a, c, drugs=["trametinib"], **k),
        [("obsm", "run_distance"), ("uns", "run")],
    ),
    "gene_interactions": (
        lambda a, t, c, **k: tl.gene_interactions(a, c, "trametinib", n_pairs=20, **k),
        [("varp", "run"), ("uns", "run")],
    ),
    "pathway_mask": (lambda a, t, c, **k: pp.pathway_mask(a, "toy", **k), [("varm", "run"), ("uns", "run")]),
    "embed_cells": (
        lambda a, t, c, **k: pp.embed_cells(a, "factors", reference=t.profile, n_components=4, **k),
        [("obsm", "run")],
    ),
    "label_cells": (
        lambda a, t, c, **k: pp.label_cells(a, treatment_key="arm", control="vehicle", batch_key=[], **k),
        [("obs", "run"), ("obs", "run_reason"), ("obs", "run_cluster"), ("uns", "run")],
    ),
    "cluster_attention": (
        lambda a, t, c, **k: pp.cluster_attention(a, n_top_genes=50, max_epochs=1, **k),
        [("obs", "run"), ("obsm", "X_run"), ("uns", "run")],
    ),
    "pair_controls": (
        lambda a, t, c, **k: pp.pair_controls(a, by="plate", **k),
        [("layers", "run"), ("obs", "n_controls"), ("uns", "pair_controls")],
    ),
    "binarize_response": (
        lambda a, t, c, **k: pp.binarize_response(a, response_key="true_response", **k),
        [("obsm", "run"), ("uns", "run")],
    ),
}


@pytest.fixture(scope="module")
def predicted(trained) -> ad.AnnData:
    cells = _cells()
    _quietly(tl.predict_response, cells, trained)
    _quietly(tl.attribute_genes, cells, trained, "trametinib")
    return cells


@pytest.fixture(scope="module")
def file(predicted, tmp_path_factory) -> Path:
    """The same in a file, which is opened to read only."""
    path = tmp_path_factory.mktemp("ready") / "x.h5ad"
    predicted.write_h5ad(path)
    return path


@pytest.fixture
def ready(predicted) -> ad.AnnData:
    """Cells with all that a function may read, stored under other keys than it writes to."""
    return predicted.copy()


def _mine(adata: ad.AnnData, place: tuple[str, str]) -> Any:
    """Something of the user's for that place."""
    shape = {"obs": (adata.n_obs,), "obsm": (adata.n_obs, 2), "varm": (adata.n_vars, 2), "layers": adata.shape}
    shape["varp"] = (adata.n_vars, adata.n_vars)
    return {"mine": 1} if place[0] == "uns" else np.ones(shape[place[0]], dtype=np.float32)


def _content(adata: ad.AnnData) -> dict[str, Any]:
    parts = ("obs", "obsm", "uns", "varm", "varp", "layers")
    return {f"{part}/{key}": getattr(adata, part)[key] for part in parts for key in getattr(adata, part).keys()}


def _assert_same(adata: ad.AnnData, before: dict[str, Any]) -> None:
    after = _content(adata)
    assert list(after) == list(before)
    for key, value in before.items():
        if isinstance(value, pd.DataFrame | pd.Series):
            assert value.equals(after[key]), key
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(after[key], value)


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, (_, places) in CALLS.items() for place in places])
def test_what_is_the_user_s_is_refused_before_anything_is_computed(name, place, ready, trained, core) -> None:
    call, _ = CALLS[name]
    part, key = place
    getattr(ready, part)[key] = mine = _mine(ready, place)
    before = _content(ready)
    with pytest.raises(ValueError, match=r"would be lost") as caught:
        _quietly(call, ready, trained, core, key_added="run")
    assert f"adata.{part}[{key!r}]" in str(caught.value)
    _assert_same(ready, before)
    np.testing.assert_array_equal(getattr(ready, part)[key], mine)


@pytest.mark.parametrize("name", list(CALLS))
def test_own_results_are_replaced_from_files_too(name, ready, trained, core, tmp_path) -> None:
    call, places = CALLS[name]
    _quietly(call, ready, trained, core, key_added="run")
    for part, key in places:
        assert key in getattr(ready, part).keys()
    _quietly(call, ready, trained, core, key_added="run")
    ready.write_h5ad(tmp_path / "x.h5ad")
    _quietly(call, ad.read_h5ad(tmp_path / "x.h5ad"), trained, core, key_added="run")


class _Full(dict):
    """A mapping that takes back what it held and nothing new."""

    def __init__(self, held: dict[str, Any]) -> None:
        super().__init__(held)
        self._held = dict(held)

    def __setitem__(self, key: str, value: Any) -> None:
        if value is not self._held.get(key):
            raise MemoryError("no room")
        super().__setitem__(key, value)


@pytest.mark.parametrize("name", list(CALLS))
def test_a_failure_while_storing_leaves_everything_as_it_was(name, ready, trained, core) -> None:
    call, places = CALLS[name]
    for replacing in (False, True):
        if replacing:
            _quietly(call, ready, trained, core, key_added="run")
        before = _content(ready)

        uns = dict(ready.uns)
        ready._uns = _Full(uns)
        with pytest.raises(MemoryError, match="no room"):
            _quietly(call, ready, trained, core, key_added="run")
        _assert_same(ready, before)
        ready._uns = uns


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("kind", ["backed", "view", "view of backed"])
def test_backed_files_and_views_are_written_to_or_copied(name, kind, ready, file, trained, core) -> None:
    call, places = CALLS[name]
    before_all = file.read_bytes()
    for copy in (True, False):
        adata = ready if kind == "view" else ad.read_h5ad(file, backed="r")
        if "view" in kind:
            adata = adata[np.arange(adata.n_obs) % 6 != 0]
        before = set(_content(adata))
        done = _quietly(call, adata, trained, core, key_added="run", copy=copy)
        written = done if copy else adata
        assert all(key in getattr(written, part).keys() for part, key in places)
        if copy:
            assert set(_content(adata)) == before
            assert not done.isbacked
    assert file.read_bytes() == before_all
    assert "run" not in ready.uns


WRONG = {
    "a/b": ValueError,
    "a\\b": ValueError,
    "": ValueError,
    "  ": ValueError,
    "..": ValueError,
    ".zattrs": ValueError,
    "a\x00b": ValueError,
    "\ud800": ValueError,
    "x" * 300: ValueError,
    1: TypeError,
    ("a", "b"): TypeError,
    b"run": TypeError,
    1.5: TypeError,
}


@pytest.mark.parametrize("name", list(CALLS))
def test_keys_that_files_cannot_hold_are_refused(name, ready, trained, core) -> None:
    call, _ = CALLS[name]
    before = _content(ready)
    for key, error in WRONG.items():
        with pytest.raises(error, match="key_added"):
            _quietly(call, ready, trained, core, key_added=key)
    _assert_same(ready, before)


def test_keys_are_refused_before_the_model_is_even_looked_for(cells) -> None:
    for key, error in WRONG.items():
        with pytest.raises(error, match="key_added"):
            tl.predict_response(cells, "no-such-model", key_added=key)
    with pytest.raises(TypeError, match="key_added"):
        tl.predict_response(cells, "no-such-model", key_added=None)


def test_measured_responses_are_not_replaced_by_predicted_ones(trained) -> None:
    screen = datasets.toy(n_lines=60)
    measured = screen.obsm["response"].copy()
    with pytest.raises(ValueError, match=r"adata.obsm\['response'\].*would be lost.*key_added"):
        trained.predict(screen, key_added="response")
    pd.testing.assert_frame_equal(screen.obsm["response"], measured)
    trained.predict(screen)
    with pytest.raises(ValueError, match=r"adata.obsm\['response_percentile'\]"):  # those of the default key
        trained.predict(screen[:, :].copy(), key_added="response")


def test_results_of_version_0_1_are_replaced_but_no_more_than_they_held(trained, cells) -> None:
    tl.predict_response(cells, trained)
    del cells.uns["predicted_response"]["stored_in"]
    _quietly(tl.predict_response, cells, trained)
    lines = datasets.toy(n_lines=60)
    lines.obsm["predicted_response"] = lines.obsm["response"].copy()  # as model.predict stored it then
    lines.uns["predicted_response"] = {"model_class": "KernelRidge", "scdrug_version": "0.1.0", "coverage": 1.0}
    lines.obs["response_reliability"] = 5.0
    with pytest.raises(ValueError, match=r"adata.obs\['response_reliability'\]"):
        trained.predict(lines)
    del lines.obs["response_reliability"]
    trained.predict(lines)
    assert lines.obs["response_reliability"].max() <= 1


def test_controls_that_version_0_1_paired_are_replaced(cells, trained, core) -> None:
    pp.pair_controls(cells, by="plate")
    del cells.uns["pair_controls"]
    pp.pair_controls(cells, by="plate")
    pp.pair_controls(cells, by="plate", key_added="second")
    pp.pair_controls(cells, by="plate")
    assert {"control", "second"} <= set(cells.layers)


def test_contributions_of_the_user_s_outlive_those_that_were_not_kept(cells, trained) -> None:
    tl.attribute_genes(cells, trained, "trametinib", per_cell=False)
    cells.obsm["gene_ig_trametinib"] = mine = np.ones((cells.n_obs, 2))
    _quietly(tl.attribute_genes, cells, trained, "paclitaxel")
    np.testing.assert_array_equal(cells.obsm["gene_ig_trametinib"], mine)
    _quietly(tl.attribute_genes, cells, trained, "erlotinib" if "erlotinib" in trained.drugs.index else "paclitaxel")


def test_a_column_named_like_the_index_is_refused(trained, cells) -> None:
    cells.obs.index.name = "response_reliability"
    with pytest.raises(ValueError, match=r"index.name = None"):
        tl.predict_response(cells, trained)


def test_joined_predictions_are_read_or_say_what_was_lost(trained, cells) -> None:
    first, second = cells[:30].copy(), cells[30:].copy()
    for part in (first, second):
        _quietly(tl.predict_response, part, trained)
    kept = ad.concat([first, second], uns_merge="first")
    assert get.response_df(kept).shape == (60, len(trained.drugs))
    _quietly(tl.rank_drugs, kept, "clone")
    _quietly(tl.predict_response, kept, trained)
    lost = ad.concat([first, second])
    for call in (
        get.response_df,
        get.drugs_df,
        lambda a: tl.rank_drugs(a, "clone"),
        lambda a: pl.response_heatmap(a, "clone"),
    ):
        with pytest.raises(KeyError, match=r"anndata.concat.*uns_merge='first'.*predict again"):
            call(lost)
    with pytest.raises(ValueError, match=r"anndata.concat"):
        tl.predict_response(lost, trained)


def test_predictions_are_read_after_files_subsets_and_another_order(trained, cells, tmp_path) -> None:
    tl.predict_response(cells, trained)
    expected = get.drugs_df(cells)
    cells.write_h5ad(tmp_path / "x.h5ad")
    _quietly(cells.write_zarr, tmp_path / "x.zarr")
    order = np.random.default_rng(0).permutation(cells.n_obs)[:50]
    for again in (ad.read_h5ad(tmp_path / "x.h5ad"), ad.read_zarr(tmp_path / "x.zarr"), cells[order].copy()):
        pd.testing.assert_frame_equal(get.drugs_df(again), expected, check_dtype=False, check_index_type=False)
        names = again.obs_names
        np.testing.assert_array_equal(get.response_df(again), cells.obsm["predicted_response"].loc[names])
        _quietly(tl.rank_drugs, again, "clone")
        assert len(get.rank_drugs_df(again, "clone-b")) == len(expected)
        _quietly(tl.predict_response, again, trained)
    columns = list(expected.index[::-1][:5])
    cells.obsm["predicted_response"] = cells.obsm["predicted_response"][columns]
    cells.obsm["response_percentile"] = cells.obsm["response_percentile"][sorted(columns)]
    pd.testing.assert_frame_equal(get.drugs_df(cells), expected.loc[columns])
    pd.testing.assert_frame_equal(get.response_df(cells, use="percentile"), cells.obsm["response_percentile"][columns])
