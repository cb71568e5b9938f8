"""Arguments of public functions: what they must be is said in one way, before anything is done."""

from __future__ import annotations

import importlib
import inspect
import timeit
import warnings

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdrug
from scdrug._arguments import RANGES, checked, rules_of

NAMESPACES = ("benchmark", "datasets", "get", "metrics", "model", "pl", "pp", "tl")
#: Outcomes, made by scdrug and not by a caller, and what takes any keyword on purpose.
UNCHECKED_CLASSES = ("LeakError", "MethodCard")
UNCHECKED_METHODS = ("provenance",)


def _callables() -> dict[str, object]:
    """Public functions and methods that have arguments, by name."""
    found = {}
    for namespace in NAMESPACES:
        module = importlib.import_module(f"scdrug.{namespace}")
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isfunction(item):
                found[f"{namespace}.{name}"] = item
            elif inspect.isclass(item) and namespace in ("benchmark", "model") and name not in UNCHECKED_CLASSES:
                for method in dir(item):
                    static = inspect.getattr_static(item, method)
                    static = getattr(static, "__func__", static)
                    is_own = inspect.isfunction(static) and inspect.unwrap(static).__module__.startswith("scdrug")
                    if is_own and (method == "__init__" or not method.startswith("_")):
                        found[f"{namespace}.{name}.{method}"] = static
    return {
        name: item
        for name, item in found.items()
        if name.split(".")[-1] not in UNCHECKED_METHODS and set(inspect.signature(item).parameters) - {"self", "cls"}
    }


CALLABLES = _callables()


@pytest.mark.parametrize("name", CALLABLES)
def test_arguments_of_every_public_callable_are_checked(name: str) -> None:
    function = CALLABLES[name]
    assert getattr(function, "is_checked", False), "decorate it with scdrug._arguments.checked"
    rules = rules_of(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls") or "Any" in str(parameter.annotation).split(" | "):
            continue
        rule = rules[parameter.name]
        if rule.words.startswith(("a number", "a whole number")):
            assert parameter.name in RANGES, f"give the range of `{parameter.name}`"
        if parameter.default is not parameter.empty and "<factory>" not in repr(parameter.default):
            assert rule.check(parameter.default) is not Ellipsis  # a default that is refused would raise


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    """Cells with predictions and a ranking."""
    cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.predict_response(cells, model)
        scdrug.tl.rank_drugs(cells, "clone")
    return cells


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return scdrug.datasets.toy()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: scdrug.tl.predict_response(c, min_coverage="a"), TypeError, r"`min_coverage` must be a number \(a share betw"),
        (lambda c: scdrug.tl.predict_response(c, min_coverage=1.5), ValueError, "`min_coverage` must be a share between 0 and 1"),
        (lambda c: scdrug.tl.predict_response(c, min_coverage=np.nan), ValueError, "between 0 and 1; found nan"),
        (lambda c: scdrug.tl.predict_response(c, chunk_size=0), ValueError, "`chunk_size` must be at least 1; found 0"),
        (lambda c: scdrug.tl.predict_response(c, chunk_size=2.5), TypeError, "`chunk_size` must be a whole number"),
        (lambda c: scdrug.tl.predict_response(c, chunk_size=True), TypeError, "found True"),
        (lambda c: scdrug.tl.predict_response(c, copy=1), TypeError, "`copy` must be True or False; found 1"),
        (lambda c: scdrug.tl.predict_response(c, layer=3), TypeError, "`layer` must be text or None; found 3"),
        (lambda c: scdrug.tl.predict_response(c, drugs=[1]), TypeError, "`drugs` must be .*found list of '1'"),
        (lambda c: scdrug.tl.predict_response(c, drugs=3.5), TypeError, "`drugs` must be .*found 3.5"),
        (lambda c: scdrug.tl.predict_response("cells.h5ad"), TypeError, "found 'cells.h5ad'.*read_h5ad"),
        (lambda c: scdrug.tl.predict_response(c.to_df()), TypeError, "found DataFrame.*anndata.AnnData"),
        (lambda c: scdrug.tl.predict_response(c.X), TypeError, r"anndata.AnnData\(X\)"),
        (lambda c: scdrug.tl.predict_response(sp.csr_matrix(c.X)), TypeError, r"anndata.AnnData\(X\)"),
        (lambda c: scdrug.tl.predict_response(c, fit_un="x"), TypeError, "unexpected argument `fit_un`.*mean `fit_on`.*It takes `ada"),
        (lambda c: scdrug.tl.rank_drugs(c, 3), TypeError, "`groupby` must be text; found 3"),
        (lambda c: scdrug.tl.rank_drugs(c, "clone", min_cells=0), ValueError, "`min_cells` must be at least"),
        (lambda c: scdrug.tl.rank_drugs(c, "clone", groups=None), TypeError, "`groups` must be text"),
        (lambda c: scdrug.pp.harmonize(c, c, n_lines=0), ValueError, "`n_lines` must be at least 1; found 0"),
        (lambda c: scdrug.pp.harmonize(c, c, n_pool=0), ValueError, "`n_pool` must be at least 1"),
        (lambda c: scdrug.pp.harmonize(c, pd.DataFrame()), TypeError, "`reference` must be an AnnData or a ReferenceProf"),
        (lambda c: scdrug.datasets.toy(seed=-1), ValueError, "`seed` must be between 0 and"),
        (lambda c: scdrug.datasets.toy(n_lines="all"), TypeError, "`n_lines` must be a whole number"),
        (lambda c: scdrug.datasets.gdsc(release="GDSC3"), ValueError, "`release` must be one of 'GDSC1', 'GDSC2'"),
        (lambda c: scdrug.pl.response_heatmap(c, "clone", n_drugs=0), ValueError, "`n_drugs` must be at least 1"),
        (lambda c: scdrug.pl.rank_drugs(c, ax="left"), TypeError, "`ax` must be an Axes or None; found 'left'"),
        (lambda c: scdrug.pl.rank_drugs(c, ax=np.array([1])), TypeError, "`ax` must be an Axes.*axes.0."),
        (lambda c: scdrug.pl.rank_drugs(c, figsize=(1, 2, 3)), TypeError, "`figsize` must be 2 numbers"),
        (lambda c: scdrug.pl.rank_drugs(c, figsize=(0, 2)), ValueError, "`figsize` must be positive"),
        (lambda c: scdrug.pl.rank_drugs(c, groups={"a": 1}), TypeError, "`groups` must be"),
        (lambda c: scdrug.pl.rank_drugs(c, groups=5), KeyError, "no group '5'.*clone-a"),
        (lambda c: scdrug.get.rank_drugs_df(c, fdr_max="5 %"), TypeError, "`fdr_max` must be a number"),
        (lambda c: scdrug.metrics.bootstrap_interval(np.arange(9.0), level=1), ValueError, "`level` must be between 0 and 1"),
        (lambda c: scdrug.metrics.rmse("a", "b"), TypeError, "`predicted` must be an array; found 'a'"),
        (lambda c: scdrug.benchmark.make_splits(c, "line", n_repeats=0), ValueError, "`n_repeats` must be at least 1"),
        (lambda c: scdrug.benchmark.Search(n_trials=1.5), TypeError, "`n_trials` must be a whole number"),
        (lambda c: scdrug.pp.cluster_attention(c, device="cuda:99"), ValueError, "`device` asks for 'cuda:99'"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_own_words(cells, call, error, message) -> None:
    before = cells.copy()
    with pytest.raises(error, match=message):
        call(cells)
    assert (
        set(cells.obs) == set(before.obs) and set(cells.obsm) == set(before.obsm) and set(cells.uns) == set(before.uns)
    )


def test_numpy_scalars_are_taken_for_numbers(cells, reference) -> None:
    expected = scdrug.pp.harmonize(cells, reference, min_coverage=0.25)
    found = scdrug.pp.harmonize(cells, reference, min_coverage=np.float32(0.25), chunk_size=np.int64(50))
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-4)
    assert scdrug.tl.rank_drugs(cells, "clone", copy=np.bool_(True), min_cells=np.int8(5)) is not cells
    assert scdrug.datasets.toy(n_lines=np.int16(30), seed=np.uint8(3)).n_obs == 30


# ---------------------------------------------------------------------- models


@pytest.mark.parametrize("name", ["KernelRidge", "AdditiveMean", "SoftImpute", "BulkClassifier"])
@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("max_epochs", 5, "takes no steps. Leave it out"),
        ("accelerator", "cpu", "on the CPU. Leave it out"),
        ("early_stopping", False, "never stopped"),
        ("validation", 0.9, "out of the reference"),
        ("plan_kwargs", {"compile": True}, "on the CPU. Leave it out"),
        ("checkpoint_dir", "checkpoints", "save\\(\\) the model"),
    ],
)
def test_exact_fits_refuse_arguments_of_training_that_they_do_not_use(reference, name, argument, value, remedy) -> None:
    cls = getattr(scdrug.model, name)
    cls.setup_anndata(reference)
    with pytest.raises(TypeError, match=f"`{argument}` has no effect on {name}: .*{remedy}"):
        cls(reference).train(**{argument: value})


def test_only_a_model_that_draws_takes_a_seed(reference) -> None:
    for name in ("KernelRidge", "BulkClassifier"):
        cls = getattr(scdrug.model, name)
        cls.setup_anndata(reference)
        model = cls(reference)
        if name == "BulkClassifier":
            model.train(seed=3)
            continue
        with pytest.raises(TypeError, match="`seed` has no effect on KernelRidge: nothing is drawn"):
            model.train(seed=3)


def test_arguments_of_a_model_are_not_arguments_of_training(reference) -> None:
    model = _network(reference)
    with pytest.raises(TypeError, match="unexpected argument `n_genes`. It is an argument of CSG2A"):
        model.train(n_genes=5)


@pytest.mark.parametrize("name", ["CSG2A", "DeepCDR", "KernelRidge", "MTIGCN", "PathwayTransfer"])
def test_unknown_arguments_of_models_are_named_with_the_nearest(reference, name) -> None:
    cls = getattr(scdrug.model, name)
    with pytest.raises(
        TypeError, match=f"{name}.setup_anndata got an unexpected argument `response`.*Did you mean `response_key`"
    ):
        cls.setup_anndata(reference, response="response")
    with pytest.raises(TypeError, match=f"{name} got an unexpected argument `presett`"):
        cls(reference, presett="default")


def _network(reference):
    scdrug.model.CSG2A.setup_anndata(reference)
    return scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_epochs": 0}, ValueError, "`max_epochs` must be at least 1; found 0"),
        ({"max_epochs": 1.5}, TypeError, "`max_epochs` must be a whole number"),
        ({"batch_size": -1}, ValueError, "`batch_size` must be at least 1"),
        ({"lr": "fast"}, TypeError, "`lr` must be a number"),
        ({"lr": 0}, ValueError, "`lr` must be positive"),
        ({"seed": -1}, ValueError, "`seed` must be between 0"),
        ({"devices": -3}, ValueError, "`devices` must be how many to use"),
        ({"devices": 0}, ValueError, "`devices` must be how many to use"),
        ({"devices": "two"}, ValueError, "`devices` must be how many to use"),
        ({"accelerator": "gpus"}, ValueError, "Did you mean 'gpu'"),
        ({"precision": "16-mixed"}, ValueError, "Did you mean 'bf16-mixed'"),
        ({"plan_kwargs": {"compiled": True}}, ValueError, "Did you mean 'compile'"),
        ({"plan_kwargs": {"compile": "yes"}}, TypeError, "must be True or False"),
        ({"epochs": 3}, TypeError, "CSG2A.train got an unexpected argument `epochs`.*Did you mean `max_epochs`"),
    ],
)
def test_training_is_refused_before_it_starts(reference, options, error, message) -> None:
    model = _network(reference)
    with pytest.raises(error, match=message):
        model.train(**options)
    assert not model.is_trained_


def test_devices_that_are_not_there_are_refused(reference, monkeypatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    model = _network(reference)
    for accelerator in ("gpu", "cuda", "mps"):
        with pytest.raises(
            ValueError, match=f"`accelerator` asks for '{accelerator}', but PyTorch finds no GPU.*'cpu'"
        ):
            model.train(accelerator=accelerator)
    with pytest.raises(ValueError, match="`devices` must be 1 on a CPU"):
        model.train(devices=4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="PyTorch finds 2"):
        model.train(accelerator="gpu", devices=3)
    with pytest.raises(ValueError, match="asks for GPU 2"):
        model.train(accelerator="gpu", devices=[0, 2])
    with pytest.raises(ValueError, match="asks for GPU 5"):
        model.train(accelerator="gpu", devices="0,5")


# ---------------------------------------------------------------------- the decorator


def test_signature_help_and_place_of_warnings_stay(cells) -> None:
    @checked
    def act(adata: ad.AnnData, *, n: int = 3) -> int:
        """Act."""
        warnings.warn("from inside", UserWarning, stacklevel=2)
        return n

    assert str(inspect.signature(act)) == "(adata: 'ad.AnnData', *, n: 'int' = 3) -> 'int'"
    assert act.__doc__ == "Act."
    with pytest.warns(UserWarning, match="from inside") as caught:
        assert type(act(cells, n=np.int8(4))) is int
    assert caught[0].filename == __file__


def test_own_objects_may_have_a_stand_in_and_others_may_not() -> None:
    class Stand:
        pass

    @checked
    def act(spec: scdrug.benchmark.ModelSpec, table: pd.DataFrame | None = None) -> None: ...

    act(Stand())
    for wrong in (None, "name", 3, pd.DataFrame()):
        with pytest.raises(TypeError, match="`spec` must be a ModelSpec"):
            act(wrong)
    with pytest.raises(TypeError, match="`table` must be a DataFrame or None; found Stand"):
        act(Stand(), Stand())


def test_checks_take_microseconds(cells) -> None:
    @checked
    def act(
        adata: ad.AnnData, *, groupby: str | None = None, chunk_size: int | None = None, copy: bool = False
    ) -> None: ...

    act(cells)
    seconds = (
        min(timeit.repeat(lambda: act(cells, groupby="clone", chunk_size=5, copy=True), number=200, repeat=5)) / 200
    )
    assert seconds < 2e-4
