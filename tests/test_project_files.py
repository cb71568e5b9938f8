"""Files around the package say the same as the package: pins, declared dependencies, workflows, changelog."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "scdrug"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def _name(requirement: str) -> str:
    """Name of a distribution in the spelling that all its spellings share."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def _names(requirements: list[str]) -> set[str]:
    return {_name(requirement) for requirement in requirements} - {"scdrug"}


def _constraints() -> dict[str, list[str]]:
    """Pins by distribution; several where they depend on the Python version."""
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pins.setdefault(_name(line), []).append(line)
    return pins


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_constraints_pin_every_direct_dependency(extra: str) -> None:
    needed = _names(EXTRAS[extra] if extra else PROJECT["dependencies"])
    assert needed
    assert not needed - set(_constraints())


def test_constraints_are_exact_and_cover_each_python_once() -> None:
    for name, lines in _constraints().items():
        assert all(re.match(r"[\w.-]+==[\w.!+]+( ; python_version [<>=]+ \"3\.\d+\")?$", line) for line in lines), lines
        markers = sorted(line.partition(" ; ")[2] for line in lines)
        assert markers in ([""], ['python_version < "3.12"', 'python_version >= "3.12"']), name


def _third_party() -> set[str]:
    """Top-level modules that the package imports from elsewhere."""
    modules = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - {"scdrug"}


def test_what_the_package_imports_is_declared() -> None:
    modules = _third_party()
    assert {"anndata", "scvi", "torch"} <= modules
    declared = _names(PROJECT["dependencies"]).union(*map(_names, EXTRAS.values()))
    providers = packages_distributions()
    undeclared = {
        module for module in modules if not {_name(dist) for dist in providers.get(module, [module])} & declared
    }
    assert not undeclared


def test_ci_finds_exactly_one_test_command_in_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r'grep -m 1 -E "([^"]+)" README\.md', script).group(1)
    lines = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if re.search(pattern, line)]
    assert [line.strip() for line in lines] == ["pip install -c constraints.txt -e '.[test]' && pytest -n 2"]


def test_workflows_test_each_python_that_the_classifiers_name() -> None:
    named = {text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", text)}
    workflow = (ROOT / ".github" / "workflows" / "test.yaml").read_text(encoding="utf-8")
    matrix = re.search(r"python: \[([^\]]+)\]", workflow).group(1)
    assert {text.strip(' "') for text in matrix.split(",")} == named
    for path in (ROOT / ".github" / "workflows").glob("*.yaml"):
        assert "permissions: { contents: read }" in path.read_text(encoding="utf-8"), path.name


def test_actions_are_pinned_to_commits() -> None:
    """A tag can be moved to other code; a commit cannot."""
    for path in (ROOT / ".github" / "workflows").glob("*.yaml"):
        for action in re.findall(r"uses: (.+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), (path.name, action)


#: What the registry of scverse's ecosystem asks of an entry (schema 2.0, August 2026), beside what its submitter adds.
_ENTRY = {
    "name": str, "description": str, "project_home": str, "documentation_home": str, "tutorials_home": str, "license": str, "tags": list,
    "primary_category": str, "language": str, "category": str, "install": dict, "test_command": str,
}  # fmt: skip
_OPTIONAL = {"tutorials_home", "test_command"}
_VOCABULARY = {
    "scRNA-seq", "bulk RNA-seq", "perturbation", "deep learning", "foundation model", "benchmarking", "spatial", "multi-omics",
}  # fmt: skip


def test_entry_for_the_ecosystem_is_valid_and_says_what_the_package_says() -> None:
    entry = yaml.safe_load((ROOT / "ecosystem.yaml").read_text(encoding="utf-8"))
    assert _ENTRY.keys() - _OPTIONAL <= entry.keys() <= _ENTRY.keys()
    assert all(isinstance(value, _ENTRY[field]) for field, value in entry.items())
    assert entry["category"] == "ecosystem"
    assert 1 <= len(entry["tags"]) <= 10
    assert {*entry["tags"], entry["primary_category"]} <= _VOCABULARY
    assert len(set(entry["tags"])) == len(entry["tags"])
    assert 1 <= len(re.findall(r"[.!?](?:\s|$)", entry["description"])) <= 2
    assert entry["install"] == {"pypi": PROJECT["name"]} and entry["name"] == PROJECT["name"]
    assert entry["license"] == PROJECT["license"]
    assert entry["project_home"] == PROJECT["urls"]["Source"]
    assert entry["documentation_home"] == PROJECT["urls"]["Documentation"]
    page = entry["tutorials_home"].removeprefix(entry["documentation_home"] + "/en/latest/tutorials/")
    assert (ROOT / "tutorials" / page.replace(".html", ".ipynb")).is_file()
    assert entry["test_command"].replace('"', "'") in (ROOT / "README.md").read_text(encoding="utf-8")


def test_dependency_groups_are_the_extras() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert groups["test"] == ["scdrug[test]"] and groups["doc"] == ["scdrug[docs]"] and groups["dev"] == ["scdrug[dev]"]
    assert {"test", "docs", "dev"} <= EXTRAS.keys()


def test_changelog_has_a_section_for_this_version_or_for_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", text, flags=re.M)
    assert headings
    assert headings[0] in ("Unreleased", PROJECT["version"])


def test_messages_that_the_docs_explain_are_given_by_the_code() -> None:
    """Words in italics in the tables of the page stand in a message of the code, gaps ("…") left out."""
    page = (ROOT / "docs" / "guide" / "wrong_answers.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "src" / "scdrug").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts that go on in the next line
    messages = re.findall(r"^\| \*(.+?)\*", page, flags=re.MULTILINE)
    assert len(messages) > 15
    for message in messages:
        for words in re.split(r"…|:|'|`[^`]*`|1e\+38", message):
            assert words.strip(" ,;.") in code, (message, words)
