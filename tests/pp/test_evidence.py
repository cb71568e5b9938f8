"""What a cohort itself says against a prediction: absent genes, cells without information, other gene names."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug import datasets, get, model, pp, tl
from scdrug.pp._dividing import CYCLE_GENES, TotalsReader, group_shares
from scdrug.pp._evidence import share_absent


@pytest.fixture(scope="module")
def trained() -> model.KernelRidge:
    reference = datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    return trained


@pytest.fixture
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=120)


def predict(adata: ad.AnnData, trained, **options) -> tuple[ad.AnnData, str]:
    """The predicted copy, and all warnings as one text."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = tl.predict_response(adata, trained, copy=True, **options)
    return result, " | ".join(str(w.message) for w in seen)


def without(adata: ad.AnnData, share: float, seed: int = 0) -> ad.AnnData:
    """The same cells with a share of the genes written as zeros."""
    kept = np.random.default_rng(seed).random(adata.n_vars) >= share
    other = adata.copy()
    other.X = sp.csr_matrix(sp.csr_matrix(adata.X) @ sp.diags(kept.astype(np.float32)))
    other.var["kept"] = kept
    return other


# ---------------------------------------------------------------------- absent is not zero


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(10, 200), st.floats(0.02, 3))
def test_what_sequencing_misses_is_not_called_absent(seed: int, n_cells: int, depth: float) -> None:
    rng = np.random.default_rng(seed)
    typical = rng.normal(size=2000)
    rate = depth * np.exp(typical + rng.normal(scale=1.0, size=2000))
    shown = (rng.poisson(rate, size=(n_cells, 2000)) > 0).sum(axis=0)
    assert share_absent(shown, n_cells, typical) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_zeros_that_a_program_wrote_are_called_absent_in_their_share(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    typical = rng.normal(size=2000)
    shown = (rng.poisson(np.exp(typical + 1), size=(100, 2000)) > 0).sum(axis=0)
    shown[rng.random(2000) < share] = 0
    assert share_absent(shown, 100, typical) == pytest.approx(share, abs=0.1)


def test_genes_filled_with_zeros_count_as_missing(trained, cells: ad.AnnData) -> None:
    filled = without(cells, 0.4)
    found, said = predict(filled, trained)
    honest, _ = predict(filled[:, filled.var["kept"].to_numpy()].copy(), trained)
    assert "zero in every cell" in said and "adata.raw.to_adata()" in said
    stored = found.uns["predicted_response"]
    assert stored["gene_coverage"] == pytest.approx(honest.uns["predicted_response"]["gene_coverage"], abs=0.03)
    np.testing.assert_allclose(found.obsm["response_percentile"], honest.obsm["response_percentile"], atol=0.1)


def test_too_few_genes_that_are_not_zero_are_refused_like_too_few_genes(trained, cells: ad.AnnData) -> None:
    with pytest.warns(UserWarning, match="zero in every cell"), pytest.raises(ValueError, match="model genes"):
        tl.predict_response(without(cells, 0.85), trained)


def test_samples_joined_with_zeros_are_named_when_predicted_and_when_ranked(trained, cells: ad.AnnData) -> None:
    cells.obs = pd.DataFrame({"sample": np.where(np.arange(cells.n_obs) % 2, "b", "a")}, index=cells.obs_names)
    half = [cells[cells.obs["sample"] == s].copy() for s in "ab"]
    half[1] = half[1][:, np.random.default_rng(0).random(cells.n_vars) < 0.5].copy()
    joined = ad.concat(half, join="outer")
    found, said = predict(joined, trained)
    assert "obs['sample']" in said and "join='inner'" in said and "'b (" in said
    found.obs["batch"] = found.obs["sample"].astype(str)
    for keys in ({"groupby": "batch"}, {"groupby": "clone_of", "sample_key": "batch"}):
        found.obs["clone_of"] = ["x", "x", "y", "y"] * 30
        with pytest.warns(UserWarning, match=r"zero in every cell.*obs\['batch'\]"):
            tl.rank_drugs(found, **keys, min_cells=2, include_refused=True)


def test_whole_samples_raise_no_alarm(trained, cells: ad.AnnData) -> None:
    cells.obs["sample"] = pd.Categorical(np.where(np.arange(cells.n_obs) % 2, "b", "a"))
    found, said = predict(cells, trained)
    assert "zero" not in said
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tl.rank_drugs(found, "sample")
    assert not any("zero" in str(w.message) for w in seen)


# ---------------------------------------------------------------------- rows without information


@pytest.mark.parametrize("kind", ["empty", "nearly empty", "outside the panel"])
def test_cells_without_information_move_nobody(kind: str, trained, cells: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    droplets = np.zeros((60, cells.n_vars), dtype=np.float32)
    outside = ~cells.var_names.isin(trained.genes)
    if kind == "nearly empty":
        droplets[np.arange(60), rng.integers(0, cells.n_vars, 60)] = 1
    elif kind == "outside the panel" and outside.any():
        droplets[:, outside] = rng.poisson(3, size=(60, outside.sum()))
    empty = ad.AnnData(sp.csr_matrix(droplets), var=cells.var[[]])
    empty.obs_names = [f"empty-{i}" for i in range(60)]
    empty.obs["clone"] = "normal"
    both = ad.concat([cells, empty])
    alone, _ = predict(cells, trained)
    found, said = predict(both, trained)
    n = cells.n_obs
    np.testing.assert_allclose(found.obsm["response_percentile"][:n], alone.obsm["response_percentile"], atol=1e-4)
    assert found.obsm["predicted_response"][n:].isna().all(axis=None)
    assert found.obsm["response_percentile"][n:].isna().all(axis=None)
    assert (found.obs["response_reliability"][n:] == 0).all()
    assert "60 of 180 cells" in said
    assert found.uns["predicted_response"]["n_uninformative"] == 60
    tables = []
    for x in (alone, found):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            tl.rank_drugs(x, "clone", reference="normal")
        tables.append(x.uns["rank_drugs"]["table"])
    assert any("60 of 180 cells without prediction" in str(w.message) for w in seen)
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-4)


def test_nothing_but_empty_cells_is_refused(trained, cells: ad.AnnData) -> None:
    nearly = np.zeros(cells.shape, dtype=np.float32)
    nearly[np.arange(cells.n_obs), np.flatnonzero(cells.var_names.isin(trained.genes))[0]] = 1
    with pytest.raises(ValueError, match="empty droplets"):
        tl.predict_response(ad.AnnData(sp.csr_matrix(nearly), var=cells.var[[]]), trained)


# ---------------------------------------------------------------------- a verdict that holds


@pytest.mark.parametrize("name", ["gdsc-ridge", "gdsc2-pathways-1"])
@pytest.mark.parametrize("damage", ["shuffled", "half shuffled", "shifted", "turned round", "ambient"])
def test_cells_that_say_nothing_are_refused(name: str, damage: str, shared_data) -> None:
    trained = model.load_pretrained(name)
    adata = ad.read_h5ad(shared_data / "sc" / "bc_atlas" / "bc_atlas_14_lines.h5ad")[::3].copy()
    rng = np.random.default_rng(1)
    for seed in range(6 if "shuffled" in damage else 1):
        other = ad.AnnData(sp.csr_matrix(adata.X), var=adata.var[[]])
        if damage == "shuffled":
            other.var_names = np.random.default_rng(seed).permutation(adata.var_names)
        elif damage == "half shuffled":
            moved = np.random.default_rng(seed).choice(adata.n_vars, adata.n_vars // 2, replace=False)
            names = np.array(adata.var_names)
            names[moved] = names[np.random.default_rng(seed + 1).permutation(moved)]
            other.var_names = names
        elif damage == "shifted":
            other = other[:, np.argsort(adata.var_names)].copy()
            other.var_names = np.roll(other.var_names, 1)
        elif damage == "turned round":
            other.X = sp.csr_matrix(adata.X.max() - other.X.toarray())
        else:
            share = np.asarray(other.X.sum(axis=0)).ravel()
            other.X = sp.csr_matrix(rng.multinomial(5000, share / share.sum(), size=adata.n_obs).astype(np.float32))
        found, _ = predict(other, trained, drugs=list(trained.drugs.index[:2]))
        assert found.uns["predicted_response"]["verdict"].startswith("No drug can be ranked"), seed
    whole, _ = predict(adata, trained, drugs=list(trained.drugs.index[:2]))
    assert whole.uns["predicted_response"]["verdict"] == "ok"


def test_noise_is_refused_when_it_is_called_scaled(trained, cells: ad.AnnData) -> None:
    noise = ad.AnnData(np.random.default_rng(0).normal(size=cells.shape).astype(np.float32), var=cells.var[[]])
    found, _ = predict(noise, trained, scale="scaled")
    assert found.uns["predicted_response"]["verdict"] != "ok"


# ---------------------------------------------------------------------- no direction of noise


def test_scaled_values_are_placed_around_the_mean_whatever_their_rounding(trained, cells: ad.AnnData) -> None:
    import scanpy as sc

    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    cells.X = cells.X.toarray()
    sc.pp.scale(cells)
    found = []
    for seed in range(2):
        moved = cells.copy()
        moved.X = cells.X + np.random.default_rng(seed).normal(scale=1e-6, size=(1, cells.n_vars)).astype(np.float32)
        adata, said = predict(moved, trained, scale="scaled")
        assert "Only contrasts between cells" in said
        found.append(adata.obsm["response_percentile"].to_numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_values_scaled_without_centring_are_recognised(trained, cells: ad.AnnData) -> None:
    import scanpy as sc

    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.scale(cells, zero_center=False, max_value=10)
    found, said = predict(cells, trained)
    assert found.uns["predicted_response"]["harmonization"]["input_scale"] == "scaled"
    assert "standard deviation of 1" in said and "scale='log'" not in said.split("|")[1]
    stated, _ = predict(cells, trained, scale="log")  # whoever knows better can say so
    assert stated.uns["predicted_response"]["harmonization"]["input_scale"] == "log"


def test_a_negative_value_anywhere_is_seen(trained) -> None:
    many = datasets.toy_cells(n_cells=1500)
    looked_at = pp._rows.sampled_rows(1500)
    row = int(np.setdiff1d(np.arange(1500), looked_at)[0])
    values = np.log1p(many.X.toarray())
    values[row, 3] = -2
    with pytest.raises(ValueError, match="centred or scaled"):
        tl.predict_response(ad.AnnData(values, var=many.var[[]]), trained)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (np.ones((1, 30)), "reference of 1 lines"),
        (np.ones((20, 30)), "same expression"),
        (np.random.default_rng(0).poisson(200, size=(20, 30)), "before the logarithm"),
    ],
)
def test_references_that_say_nothing_are_refused(lines: np.ndarray, message: str, cells: ad.AnnData) -> None:
    reference = ad.AnnData(lines.astype(np.float32), var=pd.DataFrame(index=cells.var_names[:30]))
    with pytest.raises(ValueError, match=message):
        pp.harmonize(cells, reference)


# ---------------------------------------------------------------------- cells that do not divide


def scaled(counts: sp.csr_matrix) -> dict[str, tuple[sp.csr_matrix, str]]:
    """The same cells as counts, per ten thousand, and as logarithms of base e and 2, with the name of the scale."""
    cpm = sp.csr_matrix(counts.multiply(1e4 / np.maximum(np.asarray(counts.sum(axis=1)), 1)), dtype=np.float32)
    return {
        "counts": (counts, "counts"), "cpm": (cpm, "linear"), "ln": (cpm.log1p(), "log"),
        "log2": (sp.csr_matrix(cpm.log1p() / np.log(2), dtype=np.float32), "log"),
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 60))
def test_depth_and_share_of_the_cell_cycle_do_not_depend_on_scale_or_base(seed: int, n_cycle: int) -> None:
    counts = sp.csr_matrix(np.random.default_rng(seed).poisson(0.5, size=(24, 200)).astype(np.float32))
    codes, columns = np.arange(24) % 2, np.arange(n_cycle)
    expected = [counts[codes == g][:, :n_cycle].sum() / counts[codes == g].sum() for g in (0, 1)]
    for values, scale in scaled(counts).values():
        totals = TotalsReader.of(values, columns, scale=scale)(values)
        np.testing.assert_allclose(totals.depth, np.asarray(counts.sum(axis=1)).ravel(), rtol=1e-3)
        np.testing.assert_allclose(group_shares(totals, codes, 3)[:2], expected, rtol=1e-3)
        assert np.isnan(group_shares(totals, codes, 3)[2])
    few = TotalsReader.of(counts, columns[:19], scale="counts")(counts)
    assert np.isnan(few.dividing).all(), "too few genes"
    small = TotalsReader.of(counts, columns, scale="counts")(counts[:9])
    assert np.isnan(group_shares(small, np.zeros(9, int), 1)).all(), "too few cells"


def test_thinning_halves_counts_on_any_scale_and_leaves_what_holds_none() -> None:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(3.0, size=(20, 400)).astype(np.float32))
    for values, scale in scaled(counts).values():
        reader = TotalsReader.of(values, np.arange(20), scale=scale)
        thinned = reader.thin(values, np.random.default_rng(1))
        depth = TotalsReader.of(values, np.arange(20), scale=scale)(values).depth.sum()
        linear = np.expm1(thinned.data * reader.unit) if reader.unit else thinned.data
        whole = np.expm1(values.data * reader.unit) if reader.unit else values.data
        kept = linear.sum() / whole.sum() * (1 if scale == "counts" else 0.5)  # normalised values keep their total
        assert kept == pytest.approx(0.5, abs=5 / np.sqrt(depth))
        assert thinned.nnz < values.nnz and thinned.shape == values.shape
    tpm = sp.csr_matrix(rng.gamma(2.0, size=(20, 400)).astype(np.float32))
    assert TotalsReader.of(tpm, np.arange(20), scale="linear").thin(tpm, rng) is None


def test_resting_cells_are_refused_whatever_they_resemble(shared_data) -> None:
    blood = ad.read_h5ad(shared_data / "sc" / "pbmc80" / "pbmc80_counts.h5ad")
    for name in ("gdsc-ridge", "gdsc2-pathways-1"):
        result, said = predict(blood, name)
        assert "hardly divide" in result.uns["predicted_response"]["verdict"] and "hardly divide" in said
        assert result.obs["response_reliability"].max() == 0
    logarithms = blood.copy()
    logarithms.X = sp.csr_matrix(blood.X.multiply(1e4 / np.asarray(blood.X.sum(axis=1)))).log1p()
    assert "hardly divide" in predict(logarithms, "gdsc-ridge")[1]


def test_normal_cells_among_tumour_cells_are_refused_by_group(shared_data, tmp_path) -> None:
    breast = pp.map_gene_ids(datasets.breast_atlas(path=shared_data / "sc" / "bc_atlas")[:60].copy(), copy=True)
    blood = pp.map_gene_ids(ad.read_h5ad(shared_data / "sc" / "pbmc80" / "pbmc80_counts.h5ad"), copy=True)
    for part in (breast, blood):
        part.var_names_make_unique()
    mixed = ad.concat({"solid/tumour": breast, "blood": blood}, label="kind")
    mixed.obs_names_make_unique()
    alone, _ = predict(mixed, "gdsc-ridge")
    by_group, said = predict(mixed, "gdsc-ridge", groupby="kind")
    reliability = by_group.obs["response_reliability"].groupby(by_group.obs["kind"], observed=True).median()
    assert reliability["blood"] == 0 and reliability["solid/tumour"] > 0.2
    assert by_group.uns["predicted_response"]["verdict"] == "ok" and "blood (they hardly divide: 10 of 10,000" in said
    by_group.write_h5ad(tmp_path / "cells.h5ad")
    stored = ad.read_h5ad(tmp_path / "cells.h5ad").uns["predicted_response"]["groups"].set_index("group")
    assert stored["dividing"]["blood"] < 0.0012 < 0.003 < stored["dividing"]["solid/tumour"]
    assert alone.obs["response_reliability"].max() > 0, (
        "without groups nothing tells cells apart when they are predicted"
    )
    # but whoever groups them afterwards is told
    table = get.group_reliability_df(alone, "kind").set_index("group")
    assert table["refused"].to_dict() == {"blood": True, "solid/tumour": False}
    assert table["reason"]["blood"].startswith("Refused: they hardly divide")
    assert table["reliability"]["solid/tumour"] > 0.2
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tl.rank_drugs(alone, "kind")
    assert any("Left out 1 groups" in str(w.message) for w in seen)
    assert set(alone.uns["rank_drugs"]["table"]["group"]) == {"solid/tumour"}


def test_lines_divide_at_any_depth_and_panels_without_the_cell_cycle_are_not_judged(shared_data) -> None:
    breast = datasets.breast_atlas(path=shared_data / "sc" / "bc_atlas")
    thinned = breast.copy()
    thinned.X = sp.csr_matrix(
        np.random.default_rng(0).binomial(breast.X.toarray().astype(int), 0.05).astype(np.float32)
    )
    for cells in (breast, thinned):
        evidence = predict(cells, "gdsc-ridge")[0].uns["predicted_response"]["harmonization"]["evidence"]
        assert evidence["dividing"] > 0.005 and evidence["factor"] == 1
    symbols = pp.map_gene_ids(breast, copy=True)
    panel = symbols[:, ~symbols.var_names.isin(CYCLE_GENES)].copy()
    found = predict(panel, "gdsc-ridge")[0].uns["predicted_response"]
    assert np.isnan(found["harmonization"]["evidence"]["dividing"]) and found["verdict"] == "ok"
