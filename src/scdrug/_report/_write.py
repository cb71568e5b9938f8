"""Write the report of predictions as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._arguments import checked
from .._constants import KEYS
from .._html import render_page
from .._own_files import write_atomically
from ..get._controls import check_controls
from ._assets import own_text, table_library, table_styles
from ._cells import cells_view
from ._controls import NOTE, controls_table
from ._heat import heat_map
from ._methods import methods_text, provenance_rows
from ._read import Results, read_results
from ._sections import groups_table, sections
from ._verdict import cannot_say, says

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_ENDINGS = (".html", ".htm")


@checked
def report(
    adata: AnnData,
    path: str | os.PathLike[str],
    *,
    groupby: str | None = None,
    title: str = "Predicted drug response",
    n_drugs: int = 10,
    basis: str | None = None,
    max_cells: int = 200_000,
    controls: pd.DataFrame | None = None,
    key: str = KEYS.PREDICTED,
    overwrite: bool = False,
) -> Path:
    """Write one page that says what was predicted, how far to believe it, and where to go on.

    It begins with a verdict in plain words, and shows whatever of rankings, stability, therapeutic window, combinations and pathways is
    stored in `adata`, and the controls of the model, in tables that sort and filter. The page is one file and asks nothing of the network.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`, and of what else was computed, under the default keys.
    path
        HTML file to write; it appears whole or not at all.
    groupby
        Column of `obs` with the groups of the heat map and of the embedding; that of :func:`scdrug.tl.rank_drugs` if omitted.
    title
        Head of the page.
    n_drugs
        Drugs of each group in the verdict and the heat map.
    basis
        Embedding to show, such as ``"umap"`` for ``obsm["X_umap"]``; the first of UMAP, t-SNE and PCA that is there if omitted.
    max_cells
        Cells drawn in the embedding; of more, as many are drawn by chance, and the page says so. The more cells, the fewer drugs they can
        be coloured by: 30 for 50,000 cells, 5 for 200,000.
    controls
        Controls of the model, as :func:`scdrug.benchmark.check_default` returns them; those that come with a bundled model if omitted.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    overwrite
        Replace a file that exists.

    Returns
    -------
    The path of the page. `adata` is not altered.

    Raises
    ------
    KeyError
        If there are no predictions, or no such column or embedding.
    ValueError
        If `path` does not end in ``.html``, `groupby` holds measurements rather than labels, or `controls` is no such table.
    FileExistsError
        If the file exists and `overwrite` is false.

    See Also
    --------
    scdrug.get : the tables that all numbers of the page come from.

    Notes
    -----
    Tables are DataTables, brought by itables; the embedding is drawn by Plotly, with WebGL. Both stand inside the file, compressed, so
    that browsers of 2023 or newer are needed for sorting and drawing; the tables are there without. Percentiles of cells are kept to two
    digits.

    Examples
    --------
    >>> import scdrug, tempfile
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.rank_drugs(cells, "clone", reference="normal", sample_key="sample")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = scdrug.report(cells, f"{folder}/report.html", title="A toy tumour")
    ...     page.stat().st_size < 8e6
    True
    """
    target = _check_target(Path(path), overwrite)
    results = read_results(adata, groupby, key, None if controls is None else check_controls(controls))
    content = _content(results, title, n_drugs)
    content["cells"] = cells_view(adata, results, basis=basis, max_cells=max_cells, key=key)
    html = render_page(
        "_report/page.html.jinja",
        **content,
        styles=table_styles() + own_text("page.css"),
        script=own_text("page.js"),
        table_library=table_library(),
    )
    return write_atomically(target, html)


def _check_target(path: Path, overwrite: bool) -> Path:
    if path.suffix.lower() not in _ENDINGS:
        raise ValueError(f"`path` must end in {' or '.join(_ENDINGS)}; found {str(path)!r}.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name a file, for example {path / 'report.html'}.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists. Choose another name, or pass overwrite=True to replace it.")
    return path


def _content(results: Results, title: str, n_drugs: int) -> dict[str, Any]:
    """What the page says, apart from single cells."""
    return {
        "title": title,
        "date": f"{date.today().day} {date.today():%B %Y}",
        "results": results,
        "says": says(results, n_drugs),
        "cannot_say": cannot_say(results, n_drugs),
        "groups": groups_table(results),
        "sections": sections(results),
        "heat": heat_map(results, n_drugs),
        "controls": controls_table(results),
        "controls_note": NOTE,
        "provenance": provenance_rows(results),
        "methods": methods_text(results),
    }
