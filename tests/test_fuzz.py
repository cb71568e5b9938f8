"""Anything a user may bring, drawn at random from seeds: scdrug answers, or says in its own words why it does not.

A few hundred calls run by default. ``SCDRUG_FUZZ_EXAMPLES=5000 pytest tests/test_fuzz.py`` runs the long form.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import traceback
import warnings
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import scdrug

mpl.use("Agg")
HOME = Path(scdrug.__file__).parent
#: Errors that scdrug raises in its own words.
OWN = (ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError)
N_EXAMPLES = int(os.environ.get("SCDRUG_FUZZ_EXAMPLES", "120"))
FUZZ = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize=N_EXAMPLES <= 120,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def trained() -> scdrug.model.KernelRidge:
    reference = scdrug.datasets.toy(n_lines=60)
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    return model


CELLS = scdrug.datasets.toy_cells(n_cells=60)

# ---------------------------------------------------------------------- what may be wrong, or just different

Change = Callable[[ad.AnnData, np.random.Generator], ad.AnnData]
SAME: dict[str, Change] = {}
OTHER: dict[str, Change] = {}


def same(change: Change) -> Change:
    """A change that must not matter."""
    SAME[change.__name__] = change
    return change


def other(change: Change) -> Change:
    OTHER[change.__name__] = change
    return change


def with_x(adata: ad.AnnData, matrix: Any) -> ad.AnnData:
    """The same object around another matrix."""
    return ad.AnnData(matrix, obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns))


def dense(adata: ad.AnnData) -> np.ndarray:
    return adata.X.toarray() if sp.issparse(adata.X) else np.asarray(adata.X)


@same
def float64(adata, rng):
    return with_x(adata, adata.X.astype(np.float64))


@same
def int32(adata, rng):
    if (dense(adata) % 1).any():
        raise ValueError("fractions would be lost")
    return with_x(adata, adata.X.astype(np.int32))


@same
def as_dense(adata, rng):
    return with_x(adata, dense(adata))


@same
def as_csc(adata, rng):
    return with_x(adata, sp.csc_matrix(adata.X))


@same
def as_csr_array(adata, rng):
    return with_x(adata, sp.csr_array(adata.X))


@same
def as_dask(adata, rng):
    return with_x(adata, pytest.importorskip("dask.array").from_array(dense(adata), chunks=(17, 100)))


@same
def wide_indices(adata, rng):
    matrix = sp.csr_matrix(adata.X).copy()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return with_x(adata, matrix)


@same
def repeated_entries(adata, rng):
    coo = sp.coo_matrix(adata.X)
    again = coo.data >= 2
    rows, columns = np.r_[coo.row, coo.row[again]], np.r_[coo.col, coo.col[again]]
    data = np.r_[coo.data - again, np.ones(again.sum())].astype(np.float32)
    order = np.lexsort((rng.random(len(rows)), rows))
    indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=adata.n_obs))]
    return with_x(adata, sp.csr_matrix((data[order], columns[order], indptr), shape=adata.shape))


@same
def explicit_zeros(adata, rng):
    matrix = sp.csr_matrix(dense(adata) + 1)
    matrix.data -= 1
    return with_x(adata, matrix)


@same
def shuffled_columns(adata, rng):
    return adata[:, rng.permutation(adata.n_vars)].copy()


@same
def logarithms(adata, rng):
    return with_x(adata, np.log1p(dense(adata)))


@same
def library_sizes(adata, rng):
    counts = dense(adata).astype(np.float64)
    return with_x(adata, np.log2(1 + 1e6 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


@same
def prefixed_names(adata, rng):
    changed = adata.copy()
    changed.var_names = "GRCh38_" + adata.var_names
    return changed


@same
def with_antibodies(adata, rng):
    antibodies = ad.AnnData(
        rng.poisson(300, size=(adata.n_obs, 5)).astype(np.float32), obs=pd.DataFrame(index=adata.obs_names)
    )
    antibodies.var_names = [f"{name}_TotalSeqB" for name in adata.var_names[:5]]
    matrix = sp.csr_matrix(np.hstack([dense(adata), antibodies.X]))
    var = pd.DataFrame(index=[*adata.var_names, *antibodies.var_names])
    var["feature_types"] = ["Gene Expression"] * adata.n_vars + ["Antibody Capture"] * 5
    return ad.AnnData(matrix, obs=adata.obs.copy(), var=var, uns=dict(adata.uns))


def value(number: float, n: int = 3) -> Change:
    def put(adata, rng):
        matrix = dense(adata).astype(np.float64)
        matrix[rng.integers(0, matrix.shape[0], n), rng.integers(0, matrix.shape[1], n)] = number
        return with_x(adata, matrix)

    return put


for name, number in {"nan": np.nan, "inf": np.inf, "huge": 1e38, "negative": -3.0, "fraction": 0.5}.items():
    OTHER[name] = value(number)
for kind in ("int8", "uint8", "bool", "float16", "complex64", "object", "str"):
    OTHER[kind] = lambda adata, rng, kind=kind: with_layer(adata, dense(adata).astype(kind))


def with_layer(adata: ad.AnnData, matrix: np.ndarray) -> ad.AnnData:
    """Values that AnnData does not take as X stand in the layer that the call reads."""
    changed = adata.copy()
    changed.layers["odd"] = matrix
    return changed


@other
def scaled(adata, rng):
    matrix = np.log1p(dense(adata)).astype(np.float64)
    return with_x(adata, (matrix - matrix.mean(axis=0)) / np.maximum(matrix.std(axis=0), 1e-3))


@other
def empty_rows(adata, rng):
    matrix = dense(adata).copy()
    matrix[rng.random(adata.n_obs) < 0.4] = 0
    return with_x(adata, matrix)


@other
def nothing(adata, rng):
    return with_x(adata, sp.csr_matrix(adata.shape, dtype=np.float32))


@other
def columns_of_zeros(adata, rng):
    return with_x(adata, dense(adata) * (rng.random(adata.n_vars) < 0.6))


@other
def index_outside(adata, rng):
    changed = with_x(adata, sp.csr_matrix(adata.X).copy())
    if changed.X.nnz:
        changed.X.indices[rng.integers(changed.X.nnz)] = rng.choice([-1, 10**7])
    return changed


@other
def pointers_back(adata, rng):
    changed = with_x(adata, sp.csr_matrix(adata.X).copy())
    if adata.n_obs > 3:
        changed.X.indptr[2] = changed.X.indptr[-1] + 9
    return changed


@other
def shuffled_names(adata, rng):
    changed = adata.copy()
    changed.var_names = rng.permutation(adata.var_names)
    return changed


@other
def repeated_names(adata, rng):
    changed = adata.copy()
    changed.var_names = [adata.var_names[0]] * 4 + list(adata.var_names[4:])
    return changed


def names(make: Callable[[list[str]], Any]) -> Change:
    def rename(adata, rng):
        changed = adata.copy()
        changed.var_names = make(list(adata.var_names))
        return changed

    return rename


OTHER["numbered_genes"] = names(lambda old: [str(i) for i in range(len(old))])
OTHER["mouse_genes"] = names(lambda old: [n.capitalize() for n in old])
OTHER["nameless_genes"] = names(lambda old: ["nan", "", "None", *old[3:]])
OTHER["strange_genes"] = names(lambda old: [f"{n}/é\n" for n in old])


def labels(make: Callable[[int, np.random.Generator], Any]) -> Change:
    def relabel(adata, rng):
        changed = adata.copy()
        changed.obs["label"] = make(adata.n_obs, rng)
        return changed

    return relabel


LABELS = {
    "numbers": lambda n, rng: rng.integers(0, 3, n),
    "floats": lambda n, rng: rng.choice([0.0, 1.0, np.nan], n),
    "measurements": lambda n, rng: rng.random(n),
    "booleans": lambda n, rng: pd.array(rng.choice([True, False, None], n), dtype="boolean"),
    "integers with gaps": lambda n, rng: pd.array(rng.choice([1, 2, None], n), dtype="Int64"),
    "disguised": lambda n, rng: rng.choice(["a", "b", "nan", ""], n),
    "unused": lambda n, rng: pd.Categorical(rng.choice(["a", "b"], n), categories=["z", "a", "b"]),
    "one": lambda n, rng: ["a"] * n,
    "none": lambda n, rng: [None] * n,
    "lists": lambda n, rng: pd.Series([[1]] * n, dtype=object).to_numpy(),
    "dates": lambda n, rng: pd.date_range("2020-01-01", periods=n),
    "each": lambda n, rng: [f"cell {i}" for i in range(n)],
    "mixed": lambda n, rng: pd.Series(rng.choice([1, "1", None, "b/c"], n).tolist(), dtype=object).to_numpy(),
}
OTHER |= {f"labels: {name}": labels(make) for name, make in LABELS.items()}


def own(place: str, key: str, content: Any) -> Change:
    def put(adata, rng):
        changed = adata.copy()
        getattr(changed, place)[key] = content(changed) if callable(content) else content
        return changed

    return put


OTHER |= {
    "own percentile": own("obsm", "response_percentile", lambda a: np.ones((a.n_obs, 2))),
    "own reliability": own("obs", "response_reliability", "high"),
    "own report": own("uns", "predicted_response", "mine"),
    "own ranking": own("uns", "rank_drugs", {"table": pd.DataFrame({"a": [1]}), "params": {}}),
    "own mapping": own("uns", "gene_mapping", "mine"),
    "own ids": own("var", "original_gene_id", 1),
    "own scale": own("uns", "expression", {"scale": 3}),
    "filtered": own("var", "feature_is_filtered", "yes"),
    "other features": own("var", "feature_types", "Peaks"),
    "numbered features": own("var", "feature_types", 1),
}


@other
def two_columns_of_one_name(adata, rng):
    changed = adata.copy()
    changed.obs = pd.concat([adata.obs, adata.obs[["clone"]]], axis=1)
    return changed


@other
def masked(adata, rng):
    return with_layer(adata, np.ma.masked_equal(dense(adata), 1))


@other
def read_only(adata, rng):
    changed = with_x(adata, sp.csr_matrix(adata.X).copy())
    for part in (changed.X.data, changed.X.indices, changed.X.indptr):
        part.flags.writeable = False
    return changed


@other
def half_of_the_names_prefixed(adata, rng):
    changed = adata.copy()
    changed.var_names = [f"hg19_{name}" if rng.random() < 0.5 else name for name in adata.var_names]
    return changed


@other
def one_cell(adata, rng):
    return adata[:1].copy()


@other
def no_cell(adata, rng):
    return adata[:0].copy()


@other
def one_gene(adata, rng):
    return adata[:, :1].copy()


@other
def twins(adata, rng):
    changed = adata.copy()
    changed.obs_names = ["cell"] * adata.n_obs
    return changed


@other
def view(adata, rng):
    return adata[: adata.n_obs - 5]


@other
def transposed(adata, rng):
    return adata.T.copy()


# ---------------------------------------------------------------------- what is called

ODD = [None, 0, -1, 1.5, True, "", "a/b", "label", "clone", "odd", "nothing", float("nan"), (), ["clone"], {"a": 1}]
OPTIONS: dict[str, list[Any]] = {
    "groupby": ["clone", "label", *ODD],
    "fit_on": ["malignant", "label", *ODD],
    "method": ["quantile", "zscore", "gene_zscore", "none", *ODD],
    "anchor": ["similar", "mean", "none", "nearest", *ODD],
    "scale": ["auto", "counts", "linear", "log", "scaled", *ODD],
    "layer": [None, "odd", *ODD],
    "drugs": [None, "trametinib", ["Trametinib", "cisplatin"], {"new": "CCO"}, [], [None], *ODD],
    "min_coverage": [0.1, 0.9, 2, *ODD],
    "chunk_size": [1, 7, 10**9, *ODD],
    "shift_by_group": [True, False, *ODD],
    "key_added": ["predicted_response", "other", "response", *ODD],
    "copy": [True, False, *ODD],
}
RANK: dict[str, list[Any]] = {
    "groupby": ["clone", "label", *ODD],
    "groups": ["all", [1], 1, "a", *ODD],
    "reference": ["rest", "normal", 0, *ODD],
    "sample_key": [None, "sample", "label", *ODD],
    "use": ["percentile", "response", *ODD],
    "method": ["auto", "t-test", "wilcoxon", *ODD],
    "min_cells": [2, 10, *ODD],
    "key_added": ["rank_drugs", "mine", *ODD],
}


def options(table: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A few arguments, each with a value from its list."""
    one = st.sampled_from(sorted(table)).flatmap(
        lambda name: st.tuples(st.just(name), st.integers(0, len(table[name]) - 1))
    )
    return st.lists(one, max_size=3).map(lambda chosen: {name: table[name][i] for name, i in chosen})


def fingerprint(adata: ad.AnnData) -> dict[str, str]:
    """Hash of everything in an object by its place, as ``"obs/clone"``; values, types and containers count."""
    marks = {"X": mark(adata.X), "obs_names": mark(adata.obs_names), "var_names": mark(adata.var_names)}
    for slot in ("obs", "var"):
        table = getattr(adata, slot)
        marks |= {f"{slot}/{name}": mark(table.iloc[:, i]) for i, name in enumerate(table.columns)}
    for slot in ("obsm", "varm", "layers", "uns"):
        marks |= {f"{slot}/{key}": mark(value) for key, value in getattr(adata, slot).items() if key is not None}
    return marks


def mark(value: Any) -> str:
    if sp.issparse(value):
        parts: Any = [
            value.format,
            value.dtype.str,
            *(getattr(value, a).tobytes() for a in ("data", "indices", "indptr")),
        ]
    elif isinstance(value, pd.DataFrame):
        parts = [list(value.columns), mark(value.index), [mark(value.iloc[:, i]) for i in range(value.shape[1])]]
    elif isinstance(value, pd.Series | pd.Index):
        parts = [repr(value.dtype), value.tolist()]
    elif isinstance(value, Mapping):
        parts = [(key, mark(item)) for key, item in value.items()]
    elif hasattr(value, "compute"):
        parts = ["dask", mark(value.compute())]
    elif isinstance(value, np.ndarray):
        parts = [value.dtype.str, value.shape, value.tolist() if value.dtype.kind == "O" else value.tobytes()]
    else:
        parts = [type(value), value]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def is_own(error: Exception) -> bool:
    """Whether a statement of scdrug raised it; a wrong index or an unpacking in its lines is no refusal."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    return Path(last.filename).is_relative_to(HOME) and line.startswith("raise ")


def attempt(
    call: Callable[[], Any], adata: ad.AnnData | None = None, *, writes: Container[str] | None = ()
) -> Exception | None:
    """Call; a refusal must be scdrug's own, with words, and leave the object as it was.

    An answer may change the places in `writes`, all of them if it is None, and nothing else.
    """
    before = {} if adata is None else fingerprint(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except OWN as error:
            assert is_own(error), f"a foreign error: {''.join(traceback.format_exception(error))}"
            assert len(str(error)) > 20, f"a refusal without words: {error!r}"
            assert adata is None or fingerprint(adata) == before, f"altered by a call that was refused: {error!r}"
            return error
    if adata is not None and writes is not None:
        after = fingerprint(adata)
        altered = {
            place for place in {*before, *after} if before.get(place) != after.get(place) and place not in writes
        }
        assert not altered, f"altered by a call that answered: {sorted(altered)}"
    return None


def places(key: str) -> set[str]:
    """Where predictions stand."""
    plain = key == "predicted_response"
    percentile, reliability = (
        ("response_percentile", "response_reliability") if plain else (f"{key}_percentile", f"{key}_reliability")
    )
    evidence = "response_evidence" if plain else f"{key}_evidence"
    return {f"obsm/{key}", f"uns/{key}", f"obsm/{percentile}", f"obsm/{evidence}", f"obs/{reliability}"}


def check_answer(adata: ad.AnnData, key: str) -> None:
    """What every stored prediction holds."""
    stored = adata.uns[key]
    response = adata.obsm[key].to_numpy()
    other = "response_percentile" if key == "predicted_response" else f"{key}_percentile"
    trust = "response_reliability" if key == "predicted_response" else f"{key}_reliability"
    percentile = adata.obsm[other].to_numpy()
    missing = np.isnan(response).all(axis=1)
    assert missing.sum() == stored["n_uninformative"]
    assert np.isfinite(response[~missing]).all()
    assert ((percentile[~missing] >= 0) & (percentile[~missing] <= 1)).all() and np.isnan(percentile[missing]).all()
    assert adata.obs[trust].between(0, 1).all() and (adata.obs[trust][missing] == 0).all()
    assert 0 < stored["gene_coverage"] <= 1


BROKEN = ("index_outside", "pointers_back")
CHANGES = st.lists(
    st.sampled_from(sorted({**SAME, **OTHER})), max_size=3, unique_by=lambda name: "broken" if name in BROKEN else name
)


def changed(names: list[str], seed: int) -> ad.AnnData:
    adata, rng = CELLS.copy(), np.random.default_rng(seed)
    for name in sorted(names, key=BROKEN.__contains__):  # nothing can be done to a broken matrix any more
        try:
            adata = {**SAME, **OTHER}[name](adata, rng)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            continue  # changes that exclude each other, as objects that AnnData itself refuses
    return adata


@FUZZ
@given(CHANGES, st.integers(0, 99), options(OPTIONS))
def test_cells_are_predicted_or_refused(trained, names, seed, chosen) -> None:
    adata = changed(names, seed)
    key = chosen.get("key_added", "predicted_response")
    writes = () if chosen.get("copy") is True else places(key)
    failed = attempt(lambda: scdrug.tl.predict_response(adata, trained, **chosen), adata, writes=writes)
    if failed is None and chosen.get("copy") is not True:
        check_answer(adata, key)


@settings(FUZZ, max_examples=max(N_EXAMPLES // 4, 1))
@given(st.lists(st.sampled_from(sorted(SAME)), min_size=1, max_size=2, unique=True), st.integers(0, 99))
def test_what_must_not_matter_does_not(trained, names, seed) -> None:
    expected, found = CELLS.copy(), changed(names, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for adata in (expected, found):
            scdrug.tl.predict_response(adata, trained)
    np.testing.assert_allclose(found.obsm["predicted_response"], expected.obsm["predicted_response"], atol=2e-3)


@pytest.fixture(scope="module")
def predicted(trained) -> ad.AnnData:
    adata = CELLS.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.predict_response(adata, trained)
    return adata


STORED = {
    "nothing": lambda a: None,
    "text": lambda a: a.uns.__setitem__("predicted_response", "text"),
    "no report": lambda a: a.uns.pop("predicted_response"),
    "no percentile": lambda a: a.obsm.pop("response_percentile"),
    "array": lambda a: a.obsm.__setitem__("response_percentile", a.obsm["response_percentile"].to_numpy()),
    "renamed": lambda a: a.obsm.__setitem__("predicted_response", a.obsm["predicted_response"].add_prefix("x")),
    "holes": lambda a: a.obsm["predicted_response"].iloc[:9].__setitem__(slice(None), np.nan),
    "no drugs": lambda a: a.uns["predicted_response"].pop("drugs"),
}


@settings(FUZZ, max_examples=max(N_EXAMPLES // 2, 1))
@given(
    st.sampled_from(sorted(LABELS)), st.integers(0, 99), options(RANK), st.sampled_from(sorted(STORED)), st.booleans()
)
def test_drugs_are_ranked_read_and_drawn_or_refused(predicted, label, seed, chosen, damage, draw) -> None:
    adata = labels(LABELS[label])(predicted, np.random.default_rng(seed))
    adata.uns = {**adata.uns, "predicted_response": dict(adata.uns["predicted_response"])}
    adata.obsm["X_odd"] = np.zeros((adata.n_obs, seed % 3 + 1))
    STORED[damage](adata)
    arguments = {"groupby": "clone", **chosen}
    writes = {f"uns/{chosen.get('key_added', 'rank_drugs')}"}
    failed = attempt(lambda: scdrug.tl.rank_drugs(adata, **arguments), adata, writes=writes)
    if failed is None and "key_added" not in chosen:
        table = scdrug.get.rank_drugs_df(adata)
        assert table["rank"].min() == 1 and table["p_value"].dropna().between(0, 1).all()
    if draw:
        import matplotlib.pyplot as plt

        drugs = OPTIONS["drugs"][seed % len(OPTIONS["drugs"])]
        attempt(lambda: scdrug.get.response_df(adata, drugs=drugs, tidy=True), adata)
        attempt(lambda: scdrug.get.rank_drugs_df(adata, chosen.get("groups")), adata)
        attempt(lambda: scdrug.pl.response_heatmap(adata, arguments["groupby"], drugs=drugs), adata)
        attempt(lambda: scdrug.pl.rank_drugs(adata, groups=chosen.get("groups")), adata)
        attempt(lambda: scdrug.pl.response(adata, drugs, basis="odd"), adata)
        plt.close("all")


PP: dict[str, Callable[[ad.AnnData, Any], Any]] = {
    "map_gene_ids": lambda adata, model: scdrug.pp.map_gene_ids(adata),
    "map_gene_ids, sum": lambda adata, model: scdrug.pp.map_gene_ids(adata, duplicates="sum"),
    "align_genes": lambda adata, model: scdrug.pp.align_genes(adata, list(model.genes)),
    "harmonize": lambda adata, model: scdrug.pp.harmonize(adata, model.profile),
    "predict": lambda adata, model: model.predict(adata),
}


@settings(FUZZ, max_examples=max(N_EXAMPLES // 2, 1))
@given(CHANGES, st.integers(0, 99), st.sampled_from(sorted(PP)))
def test_preprocessing_answers_or_refuses(trained, names, seed, call) -> None:
    adata = changed(names, seed)
    writes = None if call.startswith("map") else places("predicted_response") if call == "predict" else ()
    attempt(lambda: PP[call](adata, trained), adata, writes=writes)


CELL = st.sampled_from([None, "", "nan", "text", 1e30, np.inf, -1.0, 0, True, "C/C", "A549", pd.NA])


@settings(FUZZ, max_examples=max(N_EXAMPLES // 4, 1))
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3), CELL), max_size=3),
    st.sampled_from(["ln_IC50", "pIC50", "AAC", "AUC", "viability", "IC50", "Z", "mine", "", "DSS"]),
    st.sampled_from(["", "ln(uM)", "uM", "nM", "percent", "?"]),
    st.sampled_from([None, "lower is more sensitive", "higher", "sideways"]),
    st.sampled_from(["index", "columns", "neither"]),
)
def test_references_are_built_or_refused(damage, measure, unit, direction, doubled) -> None:
    rng = np.random.default_rng(0)
    lines = [f"LINE{i}" for i in range(12)]
    expression = pd.DataFrame(rng.normal(6, 2, size=(12, 30)), index=lines, columns=list(CELLS.var_names[:30]))
    response = pd.DataFrame(rng.random((12, 4)), index=lines, columns=["a", "b", "c", "d"]).astype(object)
    for row, column, content in damage:
        response.iloc[row, column] = content
    if doubled == "index":
        response.index = [lines[0], *lines[:-1]]
    elif doubled == "columns":
        response.columns = ["a", "a", "c", None]
    attempt(lambda: scdrug.pp.build_reference(expression, response, measure=measure, unit=unit, direction=direction))


@settings(FUZZ, max_examples=max(N_EXAMPLES // 4, 1))
@given(st.text(alphabet="CNO()=#[]+-123 /\\@.cСé", max_size=30) | st.sampled_from(["(" * 400, "C" * 9000, None, 7]))
def test_structures_are_read_or_named(text) -> None:
    adata = ad.AnnData(np.zeros((1, 1), dtype=np.float32))
    adata.uns["drugs"] = pd.DataFrame({"smiles": ["CCO", text]}, index=["ethanol", "drawn"])
    attempt(lambda: scdrug.pp.featurize_drugs(adata), adata, writes={"uns/drugs", "uns/drug_features"})
