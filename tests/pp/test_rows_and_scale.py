"""Reading rows from any storage, and telling the scale of values."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdrug.pp._rows import iter_row_blocks
from scdrug.pp._scale import check_scale, detect_scale


def _counts(n_obs: int = 53, n_vars: int = 31) -> sp.csr_matrix:
    return sp.random(n_obs, n_vars, density=0.3, format="csr", rng=1, dtype=np.float32).multiply(10).ceil().tocsr()


def _stack(adata: ad.AnnData, **kwargs) -> np.ndarray:
    parts = [(rows, block.toarray()) for rows, block in iter_row_blocks(adata, **kwargs)]
    assert [rows.start for rows, _ in parts] == [0, *[rows.stop for rows, _ in parts[:-1]]]
    return np.vstack([block for _, block in parts])


@pytest.mark.parametrize("storage", ["dense", "csr", "csr_array", "csc", "float64", "view", "dask", "h5ad", "zarr"])
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_rows_are_the_same_from_any_storage(storage: str, chunk_size: int, tmp_path) -> None:
    counts = _counts()
    expected = counts.toarray()
    adata = ad.AnnData(counts.copy())
    if storage == "dense":
        adata.X = expected.copy()
    elif storage == "csr_array":
        adata.X = sp.csr_array(counts)
    elif storage == "csc":
        adata.X = counts.tocsc()
    elif storage == "float64":
        adata.X = counts.astype(np.float64)
    elif storage == "view":
        order = np.random.default_rng(0).permutation(adata.n_obs)[:20]
        adata, expected = adata[order, 3:20], expected[order, 3:20]
    elif storage == "dask":
        da = pytest.importorskip("dask.array")
        adata.X = da.from_array(expected, chunks=(10, -1)).map_blocks(sp.csr_matrix)
    elif storage == "h5ad":
        adata.write_h5ad(tmp_path / "x.h5ad")
        adata = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    elif storage == "zarr":
        adata.write_zarr(tmp_path / "x.zarr")
        adata = ad.read_zarr(tmp_path / "x.zarr")
    np.testing.assert_array_equal(_stack(adata, chunk_size=chunk_size), expected)


def test_reading_rows_does_not_alter_the_matrix() -> None:
    adata = ad.AnnData(_counts())
    before = adata.X.copy()
    for _, block in iter_row_blocks(adata, chunk_size=5):
        assert block.has_sorted_indices in (True, False)
    assert (adata.X != before).nnz == 0


def test_layers_are_read_by_name_and_unknown_ones_named() -> None:
    adata = ad.AnnData(_counts())
    adata.layers["counts"] = adata.X * 2
    np.testing.assert_array_equal(_stack(adata, layer="counts"), adata.X.toarray() * 2)
    with pytest.raises(KeyError, match="Did you mean 'counts'"):
        _stack(adata, layer="count")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_that_says_where(bad: float) -> None:
    values = _counts().toarray()
    values[40, 2] = bad
    with pytest.raises(ValueError, match="1 NaN or infinite values in rows 40-"):
        _stack(ad.AnnData(values), chunk_size=10)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.array([[0, 1, 5000], [2, 0, 3]]), "counts"),
        (np.array([[0.5, 0.25, 0.25], [0, 0.9, 0.1], [0.3, 0.3, 0.4]]), "linear"),
        (np.log10(1 + 1000 * np.array([[0.5, 0.25, 0.25], [0, 0.9, 0.1], [0.3, 0.3, 0.4]])), "log"),
        (np.log2(1 + np.array([[5, 2.5, 2.5], [0, 9, 1], [3, 3, 4]])), "log"),
        (np.abs(np.random.default_rng(0).normal(size=(400, 50))) / np.sqrt(1 - 2 / np.pi), "scaled"),
        (np.array([[0, 1.5, 5000], [2, 0, 3]]), "linear"),
        (np.array([[0, 1.5, 9.2], [2, 0, 3]]), "log"),
        (np.array([[0, -1.5, 2.2], [2, 0, 3]]), "scaled"),
    ],
)
def test_scales_are_told_apart(values: np.ndarray, scale: str) -> None:
    assert detect_scale(sp.csr_matrix(values.astype(float))) == scale
    assert check_scale(ad.AnnData(values.astype(np.float32)), scale=scale) == scale


def test_log_where_counts_are_stated_is_an_error() -> None:
    adata = ad.AnnData(np.log1p(_counts().toarray()))
    with pytest.raises(ValueError, match="scale='counts'.*fractions"):
        check_scale(adata, scale="counts")


def test_counts_where_log_is_stated_is_an_error() -> None:
    adata = ad.AnnData(_counts() * 100)
    with pytest.raises(ValueError, match="scale='log'.*non-negative integers"):
        check_scale(adata, scale="log")


def test_centred_values_must_be_announced() -> None:
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with pytest.raises(ValueError, match="negative values.*scale='scaled'"):
        check_scale(ad.AnnData(values))
    assert check_scale(ad.AnnData(values), scale="scaled") == "scaled"


def test_nothing_but_zeros_is_an_error() -> None:
    empty = ad.AnnData(sp.csr_matrix((4, 3), dtype=np.float32), obs=pd.DataFrame(index=list("abcd")))
    with pytest.raises(ValueError, match="nothing but zeros"):
        check_scale(empty)


def test_what_the_scale_was_taken_for_is_said_where_it_matters_and_nothing_confirms_it() -> None:
    from scdrug import pp
    from scdrug.datasets import toy, toy_cells

    cells, reference = toy_cells(n_cells=60), toy()
    cells.X = np.log1p(cells.X.toarray())[:, :]
    with pytest.warns(UserWarning, match="taken for 'log' values"):
        pp.harmonize(cells, reference, method="zscore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pp.harmonize(cells, reference)  # ranks are the same on every scale
        pp.harmonize(cells, reference, method="zscore", scale="log")


def _with_repeats(counts: sp.csr_matrix) -> sp.csr_matrix:
    coo = counts.tocoo()
    again = coo.data >= 2
    data = np.concatenate([coo.data - again, np.ones(again.sum(), dtype=np.float32)])
    rows, columns = np.concatenate([coo.row, coo.row[again]]), np.concatenate([coo.col, coo.col[again]])
    order = np.lexsort((-columns, rows))  # unsorted as well
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=counts.shape[0]))])
    return sp.csr_matrix((data[order], columns[order], indptr), shape=counts.shape)


@pytest.mark.parametrize("change", ["repeats", "explicit zeros", "int64", "unsorted csc"])
def test_sparse_invariants_are_not_assumed(change: str) -> None:
    counts = _counts()
    other = counts.copy()
    if change == "repeats":
        other = _with_repeats(counts)
        assert not other.has_canonical_format
    elif change == "explicit zeros":
        other = (counts + sp.csr_matrix(np.ones(counts.shape, dtype=np.float32))).tocsr()
        other.data = other.data - 1
    elif change == "int64":
        other.indices, other.indptr = other.indices.astype(np.int64), other.indptr.astype(np.int64)
    else:
        other = _with_repeats(sp.csr_matrix(counts.T)).T
    before = other.copy()
    np.testing.assert_array_equal(_stack(ad.AnnData(other), chunk_size=9), counts.toarray())
    np.testing.assert_array_equal(other.indices, before.indices)  # the user's matrix is left as it was


@pytest.mark.parametrize("damage", ["column", "negative", "pointers", "short"])
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_broken_sparse_matrices_are_refused_before_compiled_code_reads_them(damage: str, form: str) -> None:
    broken = _counts().asformat(form)
    if damage == "column":
        broken.indices[7] = 10**6
    elif damage == "negative":
        broken.indices[7] = -5
    elif damage == "pointers":
        broken.indptr[3] = broken.indptr[2] - 1
    else:
        broken.indptr[-1] += 50
    adata = ad.AnnData(_counts().asformat(form))
    adata.X.indices, adata.X.indptr = broken.indices, broken.indptr
    for whole in (adata, ad.AnnData(_counts())):
        if whole is not adata:
            whole.layers["bad"] = adata.X
            with pytest.raises(ValueError, match="sparse expression matrix is broken"):
                _stack(whole, layer="bad")
        else:
            with pytest.raises(ValueError, match="sparse expression matrix is broken"):
                _stack(whole)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.full((3, 2), "1", dtype=object), TypeError, "real numbers; found values of type object"),
        (np.ones((3, 2), dtype=complex), TypeError, "complex"),
        (np.full((3, 2), 1e38), ValueError, "where a value is missing"),
        (np.full((3, 2), 1e300), ValueError, "infinite"),
    ],
)
def test_values_that_are_no_measurements_are_refused(values: np.ndarray, error, message: str) -> None:
    adata = ad.AnnData(np.ones((3, 2), dtype=np.float32))
    adata.layers["other"] = values
    with pytest.raises(error, match=message):
        _stack(adata, layer="other")


def test_broken_matrices_and_empty_objects_are_refused_by_every_function_that_reads_them() -> None:
    from scdrug import datasets, model, pp

    reference, cells = datasets.toy(n_lines=30), datasets.toy_cells(n_cells=20)
    with pytest.raises(ValueError, match="object is empty"):
        pp.harmonize(cells[:0].copy(), reference)
    cells.X = sp.csr_matrix(cells.X).copy()
    cells.X.indices[3] = 10**7
    with pytest.raises(ValueError, match="sparse expression matrix is broken"):
        pp.align_genes(cells, list(cells.var_names[:50]))
    with pytest.raises(ValueError, match="sparse expression matrix is broken"):
        pp.align_genes(cells[:, ::2], list(cells.var_names[:50]), min_coverage=0.1)
    broken = datasets.toy(n_lines=30)
    broken.X = sp.csr_matrix(broken.X)
    broken.X.indices[3] = -2
    with pytest.raises(ValueError, match="sparse expression matrix is broken"):
        model.KernelRidge.setup_anndata(broken)


def test_broken_rows_that_no_sample_looks_at_and_wholes_of_views_are_refused() -> None:
    from scdrug import pp

    genes = ["TP53", "P53", "EGFR", "KRAS"]  # the first two are one gene
    matrix = sp.csr_matrix(np.ones((3000, 4), dtype=np.float32))
    adata = ad.AnnData(matrix, var=pd.DataFrame(index=genes))
    adata.X.indices[4 * 50] = 10**7  # row 50: a few blocks of rows are looked at to find the scale
    with pytest.raises(ValueError, match="sparse expression matrix is broken"):
        pp.map_gene_ids(adata, duplicates="sum")
    with pytest.raises(ValueError, match="sparse expression matrix is broken"):
        pp.align_genes(adata[:, ::-1], genes)
    assert list(adata.var_names) == genes


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_expression_on_a_gpu_is_copied_block_by_block(form: str, caplog) -> None:
    """By a stand-in for cupy's matrices, which come to memory by `get` alone."""
    counts = sp.random(50, 20, density=0.3, format="csr", dtype=np.float32, random_state=0)
    copied = []

    class OnGpu:
        def __init__(self, matrix) -> None:
            self._matrix, self.shape = matrix, matrix.shape
            self.format = getattr(matrix, "format", None)

        def __getitem__(self, rows):
            return OnGpu(self._matrix[rows])

        def tocsr(self):
            return OnGpu(self._matrix.tocsr())

        def get(self):
            copied.append(self.shape[0])
            return self._matrix

    OnGpu.__module__ = "cupyx.scipy.sparse"
    matrix = OnGpu(counts.toarray() if form == "dense" else counts.asformat(form))
    cells = SimpleNamespace(X=matrix, n_obs=50, is_view=False, layers={})
    with caplog.at_level("INFO", logger="scdrug"):
        found = sp.vstack([block for _, block in iter_row_blocks(cells, chunk_size=20)])
    np.testing.assert_array_equal(found.toarray(), counts.toarray())
    assert copied == [20, 20, 10]
    assert "lies on a GPU" in caplog.text
