"""Cells on the scale of a reference: the same rows whichever function reads them, and warnings at the caller's line."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from scdrug import datasets, model, pp, tl


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=40)


@pytest.fixture
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=60)


@pytest.fixture(scope="module")
def ridge(reference) -> model.KernelRidge:
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    trained = model.KernelRidge(adata)
    trained.train()
    return trained


def test_warnings_of_every_function_point_at_the_line_that_called_it(reference, ridge, cells) -> None:
    few = cells[:5].copy()
    few.var_names = "GRCh38_" + few.var_names  # both of the names and of the cohort there is something to say
    calls = [
        lambda: pp.harmonize(few, reference),
        lambda: pp.join_domains(reference, few),
        lambda: pp.embed_cells(few.copy(), "factors", reference=reference),
        lambda: tl.predict_response(few.copy(), ridge),
        lambda: tl.attribute_genes(few.copy(), ridge, "trametinib"),
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            call()
        for part in ("Gene names were read", "fewer than 10 cells"):
            assert any(part in str(warning.message) for warning in caught)
        assert {warning.filename for warning in caught} == {__file__}


def test_entries_that_occur_twice_stand_for_their_sum(reference, cells) -> None:
    once = sp.csr_matrix(cells.X, dtype=np.float32)
    twice = cells.copy()
    twice.X = sp.csr_matrix(
        (np.repeat(once.data / 2, 2), np.repeat(once.indices, 2), once.indptr * 2), shape=once.shape
    )
    for place in (
        lambda adata: pp.harmonize(adata, reference).X,
        lambda adata: pp.join_domains(reference, adata).X[40:],
    ):
        np.testing.assert_allclose(place(twice), place(cells), atol=1e-5)


def test_genes_that_nothing_measured_do_not_count_towards_the_least_coverage(reference, ridge, cells) -> None:
    emptied = cells.copy()
    dense = np.asarray(emptied.X.toarray() if sp.issparse(emptied.X) else emptied.X)
    dense[:, : int(0.6 * emptied.n_vars)] = 0
    emptied.X = sp.csr_matrix(dense)
    for call in (
        lambda: tl.predict_response(emptied, ridge, min_coverage=0.9),
        lambda: tl.attribute_genes(emptied, ridge, "trametinib", min_coverage=0.9),
        lambda: pp.join_domains(reference, emptied, min_coverage=0.9),
    ):
        with pytest.warns(UserWarning, match="zero in every cell"), pytest.raises(ValueError, match="at least 90%"):
            call()
