"""The public face of the package: imports, signatures, docstrings, docs, versions."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

import scdrug

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "scdrug"
NAMESPACES = ("benchmark", "datasets", "get", "metrics", "model", "pl", "pp", "tl")
LIGHT = ("scdrug", *(f"scdrug.{name}" for name in ("cli", *NAMESPACES)))
#: A room may import itself and those of a lower ring.
RINGS = {
    "": -1,
    "metrics": 0,
    "nn": 0,
    "pp": 1,
    "datasets": 1,
    "model": 2,
    "tl": 3,
    "pl": 4,
    "get": 4,
    "benchmark": 5,
    "_report": 5,
    "cli": 6,
}


def _public() -> list:
    items = [pytest.param(scdrug.report, id="report")]
    for namespace in NAMESPACES:
        module = importlib.import_module(f"scdrug.{namespace}")
        items += [pytest.param(getattr(module, name), id=f"{namespace}.{name}") for name in module.__all__]
    return items


PUBLIC = _public()
FUNCTIONS = [param for param in PUBLIC if inspect.isfunction(param.values[0])]


def test_importing_loads_neither_torch_nor_scvi() -> None:
    """Each after the others, in one process: whichever is the first to load a heavy package is named."""
    code = (
        "import importlib, sys, time\n"
        "start = time.perf_counter()\n"
        f"for name in {LIGHT}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'scvi', 'scanpy', 'lightning'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
        "    if name == 'scdrug':\n"  # the others load scipy and pandas, whose time depends on the disk
        "        assert time.perf_counter() - start < 1.0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _imports(path: Path) -> list[str]:
    """Absolute names of what a file imports."""
    package = ["scdrug", *path.relative_to(SOURCE).parts[:-1]]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.append(".".join([*base, *([node.module] if node.module else [])]))
    return names


def _room(dotted: str) -> str:
    part = dotted.split(".")[1] if dotted.count(".") else ""
    return part if part in RINGS else ""


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_inwards(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0] if len(path.relative_to(SOURCE).parts) > 1 else ""
    for name in _imports(path):
        if name.split(".")[0] == "scdrug" and room:
            target = _room(name)
            assert target == room or RINGS[target] < RINGS[room] or RINGS[target] == RINGS[room] == 1, (path, name)
        if name.split(".")[0] == "scvi":
            assert path == SOURCE / "model" / "_base.py"
        if name.split(".")[0] == "anndata":
            assert room not in ("nn", "metrics")


def _runtime_imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of scdrug that a file imports when it runs, in its functions too; a whole namespace as its name and ".*"."""
    package = ["scdrug", *path.relative_to(SOURCE).parts[:-1]]
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                source = ".".join([*base, *([child.module] if child.module else [])])
                for name in (f"{source}.{alias.name}" for alias in child.names if not alias.name.startswith("__")):
                    target = name if name in modules else source
                    is_namespace = target in modules and modules[target].name == "__init__.py"
                    found.add(f"{target}.*" if is_namespace else target)
            elif isinstance(child, ast.Import):
                found.update(f"{alias.name}.*" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _import_circles() -> list[set[str]]:
    """Sets of modules that import one another."""
    modules = {}
    for path in SOURCE.rglob("*.py"):
        parts = ["scdrug", *path.relative_to(SOURCE).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    edges = {name: _runtime_imports(path, modules) for name, path in modules.items()}
    for name, path in modules.items():
        if path.name == "__init__.py":  # the whole namespace: all that stands in it
            edges[f"{name}.*"] = {name, *(one for one in modules if one.startswith(f"{name}."))}
    names = sorted(edges)
    place = {name: number for number, name in enumerate(names)}
    pairs = [(place[one], place[other]) for one in names for other in edges[one] if other in place and other != one]
    matrix = sp.coo_matrix((np.ones(len(pairs)), tuple(zip(*pairs))), shape=(len(names), len(names)))
    _, label = connected_components(matrix, connection="strong")
    circles = [
        {name for name in names if label[place[name]] == number} for number in np.flatnonzero(np.bincount(label) > 1)
    ]
    return sorted(circles, key=sorted)


def test_no_modules_import_one_another_not_even_in_functions() -> None:
    assert _import_circles() == []


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_public_names_are_sorted_and_exist(namespace: str) -> None:
    module = importlib.import_module(f"scdrug.{namespace}")
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_at_most_three_positional_arguments_and_are_annotated(function) -> None:
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    limit = 4 if function.__module__.startswith("scdrug.metrics") else 3
    assert len(positional) <= limit
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters), "**kwargs swallow typos"


@pytest.mark.parametrize("item", PUBLIC)
def test_public_docstrings_are_complete(item) -> None:
    doc = inspect.getdoc(item)
    if not (inspect.isfunction(item) or inspect.isclass(item)):
        return
    assert doc
    assert len(doc.splitlines()[0]) < 120
    assert "%(" not in doc
    if inspect.isfunction(item):
        parameters = list(inspect.signature(item).parameters)
        if parameters:
            assert "Parameters\n----" in doc
            described = doc.split("Parameters\n----")[1]
            missing = [name for name in parameters if not re.search(rf"(^|[\s,`*]){re.escape(name)}\b", described)]
            assert not missing
        assert "Returns\n----" in doc or "Yields\n----" in doc


@pytest.mark.parametrize("item", PUBLIC)
def test_examples_in_docstrings_run(item, monkeypatch) -> None:
    monkeypatch.setattr(scdrug.settings, "progress", False)  # bars are written to the output that is compared
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for test in finder.find(item, name=getattr(item, "__name__", "item")):
            runner.run(test, clear_globs=False)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert runner.failures == 0


def test_readme_commands_are_the_ones_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt '.[demo]' && scdrug demo" in readme
    command = re.search(r"^ +(pip install .*&& pytest -n 2)$", readme, flags=re.M)
    assert command is not None
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert scdrug.__version__ == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()


def test_api_pages_cover_every_namespace() -> None:
    pages = (ROOT / "docs" / "_ext" / "generated_pages.py").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for namespace in NAMESPACES:
        assert f'"{namespace}"' in pages
        assert f"api/{namespace}" in index


def test_no_path_of_one_machine_in_the_repository() -> None:
    pattern = re.compile(r"(?<![\w.])/(home|root|work|tmp)/\w")
    for path in [*SOURCE.rglob("*"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "tutorials").glob("*")]:
        if path.is_file() and path.suffix in (".py", ".md", ".yaml", ".json", ".ipynb", ".jinja"):
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_package_data_are_beside_the_code() -> None:
    for name in (
        "py.typed",
        "datasets/registry.yaml",
        "pp/_data/genes.tsv.gz",
        "pp/_data/drugs.tsv.gz",
        "zoo/gdsc2-ridge/model.safetensors",
    ):
        assert (SOURCE / name).is_file(), name


def test_bundled_models_are_small_and_hold_no_training_lines() -> None:
    from scdrug.model._pretrained import bundled_models, zoo_directory

    total = 0
    for name in bundled_models():
        files = list((zoo_directory() / name).iterdir())
        size = sum(path.stat().st_size for path in files)
        total += size
        assert size < 4e6
        assert "Training lines inside the file: no" in (zoo_directory() / name / "CARD.md").read_text(encoding="utf-8")
    assert 0 < total < 15e6
