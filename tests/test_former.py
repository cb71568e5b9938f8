"""Names of earlier versions go on working, with a warning that says what is written now."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import scdrug
from scdrug._arguments import checked
from scdrug._former import Former, current_arguments, formerly


@checked
@formerly(("c",), old="new", kind=Former("kind", {None: "default"}))
def act(a: int, b: int = 0, *, c: int = 0, new: str = "x", kind: str = "default") -> tuple:
    """Act."""
    return a, b, c, new, kind


def test_a_former_argument_is_handed_on_under_its_present_name_and_the_warning_points_at_the_call() -> None:
    with pytest.warns(FutureWarning, match=r"`old='y'` is written `new='y'` now") as caught:
        assert act(1, old="y") == (1, 0, 0, "y", "default")
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match=r"`kind=None` is written `kind='default'` now"):
        assert act(1, kind=None)[-1] == "default"
    with pytest.warns(FutureWarning, match="Give `c` by name") as caught:
        assert act(1, 2, 3) == (1, 2, 3, "x", "default")
    assert caught[0].filename == __file__


def test_present_names_do_not_warn_and_former_ones_are_checked_like_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert act(1, 2, c=np.int8(3), new="y", kind="z") == (1, 2, 3, "y", "z")
        with pytest.raises(TypeError, match="`new` must be text; found 3"), pytest.warns(FutureWarning):
            act(1, old=3)
        with pytest.raises(TypeError, match="`old` is called `new` now, and both were given"):
            act(1, old="y", new="y")
        with pytest.raises(TypeError, match="positional argument"):
            act(1, 2, 3, 4)


def test_a_file_of_an_earlier_version_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_arguments(act, {"old": "y", "kind": None}, warn=False) == {"new": "y", "kind": "default"}


#: What 0.1 called arguments of models, and what they are now.
ARGUMENTS = {
    "MTIGCN": [({"preset": None}, {}), ({"predicts": "sensitivity"}, {"target": "sensitivity"})],
    "DeepCDR": [
        ({"preset": None, "task": "regression"}, {"target": "response"}),
        ({"task": "classification"}, {"target": "sensitivity"}),
    ],
    "PathwayTransfer": [
        ({"task": "regression"}, {"target": "response"}),
        ({"task": "classification"}, {"target": "sensitivity"}),
        ({"task": None}, {}),
    ],
    "CSG2A": [({"encoder": "morgan"}, {"drug_features": "morgan"})],
}


@pytest.fixture(scope="module")
def reference():
    reference = scdrug.datasets.toy()
    scdrug.pp.pathway_mask(reference, "toy")
    reference.obsm["response"] = (reference.obsm["response"] < 0).astype(float)
    return reference


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_models_take_the_arguments_of_0_1(name: str, reference) -> None:
    cls = getattr(scdrug.model, name)
    cls.setup_anndata(reference)
    for former, now in ARGUMENTS[name]:
        with pytest.warns(FutureWarning):
            model = cls(reference, **former)
        assert model.init_params_ == cls(reference, **now).init_params_
        assert model.settings == cls(reference, **now).settings


def test_a_configuration_with_former_names_asks_for_the_same() -> None:
    with pytest.warns(FutureWarning, match="`predicts='sensitivity'`"):
        spec = scdrug.benchmark.ModelSpec("a", "MTIGCN", params={"predicts": "sensitivity"}, tune={"hidden": [8, 16]})
    assert spec.params == {"target": "sensitivity"}
    now = scdrug.benchmark.ModelSpec("a", "MTIGCN", params={"target": "sensitivity"}, tune={"n_hidden": [8, 16]})
    assert spec.fingerprint == now.fingerprint


def test_a_model_that_was_saved_under_former_names_loads_without_a_warning() -> None:
    """The bundled networks are such files: they say `task`, and nothing of `target`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        model = scdrug.model.load_pretrained("gdsc2-pathways-1")
    assert model.settings.target == "response"
    assert "task" not in inspect.signature(type(model)).parameters


# ---------------------------------------------------------------------- names of functions

NAMES = {
    "pl": ("correlation_by_group", "heatmap", "pathway_heatmap", "pathway_importance", "similarity"),
    "get": ("expression_df", "importance_df"),
}


@pytest.mark.parametrize(("namespace", "name"), [(space, name) for space, names in NAMES.items() for name in names])
def test_a_function_is_found_under_its_former_name_and_no_list_shows_it(namespace: str, name: str) -> None:
    module = getattr(scdrug, namespace)
    with pytest.warns(
        FutureWarning, match=rf"`scdrug\.{namespace}\.{name}` is called `scdrug\.{namespace}\.(\w+)`"
    ) as caught:
        function = getattr(module, name)
    assert caught[0].filename == __file__
    assert function.__name__ in module.__all__ and function is getattr(module, function.__name__)
    assert name not in module.__all__ and name not in dir(module)


def test_what_a_namespace_never_had_is_missing() -> None:
    with pytest.raises(AttributeError):
        scdrug.get.no_such_df  # noqa: B018
