"""One word for one thing: rules that names and signatures of the whole public API follow, see the developer page."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import scdrug

SOURCE = Path(scdrug.__file__).parent
NAMESPACES = ("benchmark", "datasets", "get", "metrics", "model", "pl", "pp", "tl")
MODELS = [getattr(scdrug.model, name) for name in scdrug.model.MODEL_CLASSES]
#: Words that were given up for another, or that belong to another thing, by the word to use.
GIVEN_UP = {
    "cell_type_key": "groupby",
    "encoder": "drug_features",
    "encoder_weights": "pretrained_drugs",
    "hidden": "n_hidden",
    "learning_rate": "lr",
    "predicts": "target",
    "tumor_type": "tumour_type",
    "verbose": "scdrug.settings.progress",
    "width": "n_latent",
}
#: Plots and tables of predicted responses, of which there are many views, and what each shows.
OF_RESPONSES = {
    "response": "one drug in an embedding; cells × drugs",
    "response_heatmap": "groups × drugs",
    "group_response": "groups with intervals",
    "group_reliability": "how far groups are to be believed",
    "drugs": "the predicted drugs",
    "drug_evidence": "what speaks for each drug",
    "controls": "what the model's recipe gives on permuted data",
    "missing_pairs": "pairs that a screen lacks",
    "obs": "columns to plot with scanpy",
    "doses": "concentrations of combined drugs",
}
#: Plots of what no function of `tl` stores: of a model, or of arrays.
OF_MODELS = ("domains_umap", "training_curves", "compare_training", "predicted_observed")
#: Functions of `tl` without a plot or a table of their own, and where their results are seen.
WITHOUT = {
    ("pl", "predict_patients"): "pl.compare_responders, and the plots of predicted responses",
    ("pl", "predict_groups"): "the report",
    ("get", "predict_groups"): "get.group_response_df, with its key",
    ("pl", "embed"): "scanpy's plots of `obsm`",
    ("get", "embed"): "results are tables in `obsm` already",
}


def _functions(namespace: str) -> dict[str, object]:
    module = importlib.import_module(f"scdrug.{namespace}")
    return {name: getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))}


def _callables() -> dict[str, object]:
    """Functions, constructors of models, and their methods."""
    found = {f"{space}.{name}": item for space in NAMESPACES for name, item in _functions(space).items()}
    for cls in MODELS:
        for name in dir(cls):
            item = inspect.getattr_static(cls, name)
            item = getattr(item, "__func__", item)
            own = inspect.isfunction(item) and inspect.unwrap(item).__module__.startswith("scdrug")
            if own and (name == "__init__" or not name.startswith("_")):
                found[f"model.{cls.__name__}.{name}"] = item
    return found


CALLABLES = _callables()
TL = _functions("tl")


def _parameters(item: object) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(item).parameters.values() if p.name not in ("self", "cls")]


@pytest.mark.parametrize("name", CALLABLES)
def test_no_more_than_three_arguments_are_given_by_position_and_no_word_is_used_that_was_given_up(name: str) -> None:
    parameters = _parameters(CALLABLES[name])
    assert sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) <= 3
    for parameter in parameters:
        assert parameter.name not in GIVEN_UP, f"call it `{GIVEN_UP[parameter.name]}`"


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_models_call_what_they_take_by_the_same_words(cls: type) -> None:
    parameters = {p.name: p for p in _parameters(cls.__init__)}
    assert list(parameters)[:2] == ["adata", "registry"]
    if "preset" in parameters:
        assert parameters["preset"].default == "default"
    assert "task" not in parameters, "what is predicted is the `target`"
    assert not {"fingerprint", "molecule", "smiles_encoder"} & set(parameters), (
        "what is read of drugs are `drug_features`"
    )


@pytest.mark.parametrize("name", TL)
def test_every_analysis_has_a_table_and_a_plot_of_its_name_that_look_where_it_stores(name: str) -> None:
    stored = inspect.signature(TL[name]).parameters["key_added"].default
    assert list(inspect.signature(TL[name]).parameters)[0] == "adata"
    for space, seen in (("get", f"{name}_df"), ("pl", name)):
        if (space, name) in WITHOUT or name == "predict_response":
            continue
        key = inspect.signature(_functions(space)[seen]).parameters["key"].default
        assert key == stored or name == "predict_patients"


@pytest.mark.parametrize("name", _functions("get"))
def test_tables_are_named_after_an_analysis_or_after_what_they_show_of_responses(name: str) -> None:
    assert name.endswith("_df")
    assert name.removesuffix("_df") in TL or name.removesuffix("_df") in OF_RESPONSES


@pytest.mark.parametrize("name", _functions("pl"))
def test_plots_are_named_after_what_they_draw(name: str) -> None:
    assert (
        name.removesuffix("_heatmap") in TL
        or name.startswith("benchmark_")
        or name in (*OF_RESPONSES, *OF_MODELS)
        or name in _functions("metrics")
        or any(hasattr(cls, name) for cls in MODELS)
    )


@pytest.mark.parametrize("namespace", ["pp", "tl"])
def test_what_changes_an_object_can_change_a_copy_instead(namespace: str) -> None:
    for name, function in _functions(namespace).items():
        parameters = inspect.signature(function).parameters
        if "key_added" in parameters:
            assert list(parameters)[-1] == "copy", name


def test_no_private_name_is_imported_from_another_room() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    found = []
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            source = [*parts[: len(parts) - node.level], *(node.module.split(".") if node.module else [])]
            here, there = ((*part, "")[0] if (*part, "")[0] in rooms else "" for part in (parts, source))
            for alias in node.names:
                is_module = SOURCE.joinpath(*source, f"{alias.name}.py").is_file() or alias.name in rooms
                if here != there and alias.name.startswith("_") and not alias.name.startswith("__") and not is_module:
                    found.append(f"{'/'.join(parts)} imports {'.'.join([*source, alias.name])}")
    assert not found


def test_pages_scripts_and_tutorials_use_present_names() -> None:
    """What they show is copied; a former name would greet its reader with a warning."""
    root = Path(__file__).parents[1]
    former = {
        "pl": "combinations|correlation_by_group|heatmap|pathway_heatmap|pathway_importance|similarity",
        "get": "attribution_df|combinations_df|expression_df|importance_df|patients_df|perturbation_df",
    }
    names = re.compile("|".join(rf"\b{space}\.(?:{listed})\b" for space, listed in former.items()))
    arguments = re.compile(
        r"\bpredicts\s*[=:]\s*.?(?:sens|resp)|\b(?:encoder_weights|tumor_type)\s*[=:]|\btask=.{0,2}(?:classification|regression)"
    )
    folders = ("docs", "tutorials", "scripts", "benchmarks")
    pages = [
        path
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.suffix in (".md", ".py", ".yaml", ".ipynb")
    ]
    found = []
    for path in [root / "README.md", *pages]:
        if "_build" not in path.parts and path.parent.name != "generated":
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(root)}: {match}" for match in names.findall(text) + arguments.findall(text)]
    assert not found
