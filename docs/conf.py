"""Configuration of the documentation; builds offline with ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings
from pathlib import Path

# sphinx-autodoc-typehints warns of its own call to Sphinx at every signature
warnings.filterwarnings("ignore", message=".*set_application.*")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

_metadata = importlib.metadata.metadata("scdrug")
project = "scdrug"
author = "The scdrug developers"
copyright = f"2026, {author}"
release = version = _metadata["Version"]
_urls = dict(entry.split(", ") for entry in _metadata.get_all("Project-URL"))

extensions = [
    "generated_pages",  # docs/_ext: API lists, command line help, tutorials
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "free_returns",  # docs/_ext; after napoleon
    "mixin_members",  # docs/_ext; methods of mixins on the pages of classes
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
bibtex_bibfiles = ["references.bib"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "benchmark", "**.ipynb_checkpoints", "**/.*"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
default_role = "literal"
# guides may stand alone in a toctree glob before their neighbours are written
suppress_warnings = ["toc.empty_glob"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # sphinx-autodoc-typehints writes them, once
autosummary_imported_members = True
napoleon_google_docstring = False
napoleon_use_rtype = True
napoleon_use_param = True
always_use_bars_union = True
typehints_defaults = "braces"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_url_schemes = ("http", "https", "mailto")
# tutorials are committed executed; scripts/run_tutorials.py executes them in continuous integration
nb_execution_mode = "off"
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Inventories need the network, which only the hosted build has.
intersphinx_mapping = (
    {
        "anndata": ("https://anndata.readthedocs.io/en/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "scvi-tools": ("https://docs.scvi-tools.org/en/stable", None),
    }
    if os.environ.get("READTHEDOCS")
    else {}
)

html_theme = "sphinx_book_theme"
html_title = f"scdrug {release}"
html_static_path = ["_static"]
html_css_files = ["scdrug.css"]
html_show_sourcelink = False
html_theme_options = {
    "repository_url": _urls["Source"],
    "use_repository_button": True,
    "use_issues_button": True,
    "path_to_docs": "docs",
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "navbar_persistent": [],  # the side bar has the search already
}
