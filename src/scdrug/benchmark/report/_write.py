"""A report of a benchmark: tables, plots, and what to know before reading them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from ... import __version__
from ..._arguments import checked
from ..._constants import DISCLAIMER
from ..._html import render_page
from ..._own_files import write_atomically
from ..._validate import check_choice
from ._cells import cell_tables
from ._figures import Figure, cell_figures, split_figures
from ._format import Table
from ._markdown import END, START, escape, table_markdown
from ._notes import find_baselines, provenance_of, warnings_of
from ._published import published_tables, read_published
from ._scores import SplitScores, split_scores
from ._screens import screen_overview, screen_tables
from ._tables import CLASS_METRICS, RESPONSE_METRICS, cost_table, overview_table, score_table

if TYPE_CHECKING:
    from .._results import Results

Format = Literal["html", "markdown", "csv", "figures"]
FORMATS = ("html", "markdown", "csv", "figures")
_ORDER = ("pair", "line", "tissue", "drug", "disjoint")
_ENDINGS = {".html": "html", ".htm": "html", ".md": "markdown", ".csv": "csv"}
_NEEDED = (
    "name",
    "provenance",
    "scores",
    "per_drug",
    "folds",
    "screens",
    "single_cell",
    "predictions",
    "summary",
    "compare",
)
#: Said on top of every report.
READING = (
    "Values are mean ± SD over folds; the best of the complete models is bold, baselines are in italics.",
    "Skill is the share of the drug mean's RMSE that a model removes; 0 is the drug mean.",
    "Compare within a split only. Folds share training data, so the SD is no standard error: see the paired differences.",
)


@dataclass(frozen=True)
class _Section:
    """A split, or the single cells."""

    id: str
    title: str
    tables: Sequence[Table]
    figures: Sequence[Figure]
    #: Figures in print.
    published: Sequence[Table]


@dataclass(frozen=True)
class _Content:
    title: str
    warnings: Sequence[str]
    overview: Table
    sections: Sequence[_Section]
    cost: Table | None
    provenance: Sequence[tuple[str, Sequence[tuple[str, str]]]]


@checked
def write_report(
    results: Results,
    out: str | os.PathLike[str],
    *,
    formats: Sequence[Format] = FORMATS,
    baselines: Sequence[str] | None = None,
    published: pd.DataFrame | str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the report of a benchmark, finished or not.

    Tables begin with what drug identity cannot fill, hold the drug mean as a row of their own, print the best value bold,
    and give the paired difference to the strongest baseline. Pooled correlations come last, with a remark.

    Parameters
    ----------
    results
        Results of :func:`run` or :func:`read_results`.
    out
        Folder, which is made if there is none; files in it are replaced. A file name that ends in ``.html``, ``.md`` or
        ``.csv`` instead writes only that file.
    formats
        What to write into a folder. ``"html"``: `report.html`, which needs no other file and no network.
        ``"markdown"``: `report.md`; what stands between ``<!-- tables -->`` and ``<!-- end of tables -->`` can be included
        in other pages, and so can each part between ``<!-- split-line -->`` (the name of a split), ``<!-- screens -->`` or
        ``<!-- single-cells -->`` and its end. ``"csv"``: the tidy tables `scores.csv` and `per_drug.csv`, and `screens.csv` and `single_cell.csv` if there are any.
        ``"figures"``: PNG files.
    baselines
        Names of the models that are baselines; by default those with a class of :mod:`scdrug.model` that is one.
    published
        Figures in print to stand beside each split, marked as other data: a DataFrame or a CSV file with `split`,
        `model`, and either a column a metric (``rmse``, ``pearson``, …) or `metric` and `value`; `source` or `paper`,
        `data`, `spread`, `selection` and `note` are shown if they are there.

    Returns
    -------
    Files that were written. Each appears whole or not at all.

    Raises
    ------
    TypeError
        If `results` are not results of a benchmark.
    ValueError
        If no fold is finished, or a format or baseline is unknown, or `published` cannot be read.
    FileNotFoundError
        If there is no file `published`.

    Examples
    --------
    >>> import scdrug, tempfile
    >>> reference = scdrug.datasets.toy()
    >>> splits = scdrug.benchmark.make_splits(reference, "line", n_folds=2)
    >>> models = [scdrug.benchmark.ModelSpec(name, name) for name in ("AdditiveMean", "KernelRidge")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = scdrug.benchmark.run(reference, splits, models, out=folder + "/toy", progress=False)
    ...     paths = scdrug.benchmark.write_report(results, folder + "/report", formats=["markdown", "csv"])
    >>> [path.name for path in paths]
    ['report.md', 'scores.csv', 'per_drug.csv']
    """
    _check(results)
    out = Path(out)
    one_file = _ENDINGS.get(out.suffix.lower())
    if one_file is None and out.is_file():
        raise ValueError(f"{out} is a file. Name a folder, or a file that ends in .html, .md or .csv.")
    formats = [one_file] if one_file else list(formats)
    for name in formats:
        check_choice("formats", name, FORMATS)
    known = list(dict.fromkeys([*results.scores["model"], *results.single_cell["model"]]))
    for name in baselines or ():
        check_choice("baselines", name, known)
    table = None if published is None else read_published(published)

    files = _tidy(results) if "csv" in formats else {}
    if set(formats) - {"csv"}:
        grey = find_baselines(results) if baselines is None else list(baselines)
        content = _content(results, grey, table, draw=bool({"html", "figures"}.intersection(formats)))
        if "markdown" in formats:
            files = {"report.md": _markdown(content, link="figures" in formats), **files}
        if "html" in formats:
            page = render_page("benchmark/report/report.html.jinja", content=content, reading=READING)
            files = {"report.html": page, **files}
        if "figures" in formats:
            figures = [figure for section in content.sections for figure in section.figures]
            files |= {f"figures/{figure.name}.png": figure.png for figure in figures}
    if one_file:
        return [write_atomically(out, next(iter(files.values())))]
    return [write_atomically(out / name, data) for name, data in files.items()]


def _check(results: Results) -> None:
    lacking = [name for name in _NEEDED if not hasattr(results, name)]
    if lacking:
        raise TypeError(
            f"Expected the results of a benchmark; found {type(results).__name__}, which has no {lacking[0]!r}. "
            "Read a folder with scdrug.benchmark.read_results."
        )
    if results.scores.empty and results.single_cell.empty:
        raise ValueError(
            f"No fold of {results.name!r} is finished, so there is nothing to report. Run the benchmark again to go on."
        )


def collect_splits(results: Results, baselines: Sequence[str]) -> list[SplitScores]:
    """Scores of all splits with a finished fold.

    Parameters
    ----------
    results
        Results of a benchmark.
    baselines
        Names of models that are baselines.
    """
    found = [split_scores(results, str(split), baselines) for split in pd.unique(results.scores["split"])]
    # from the easiest to the hardest; splits of one kind stay in their order
    return sorted(found, key=lambda scores: _ORDER.index(scores.kind) if scores.kind in _ORDER else len(_ORDER))


def _content(results: Results, baselines: Sequence[str], published: pd.DataFrame | None, *, draw: bool) -> _Content:
    splits = collect_splits(results, baselines)
    trained = str((results.provenance.get("dataset") or {}).get("release") or "the screen of training")
    judged = [table for scores in splits for table in screen_tables(results.screens, scores.split, baselines, trained)]
    sections = [_Section("screens", "Judged by other screens", judged, [], [])] if judged else []
    for scores in splits:
        title = f"Split {scores.split}"
        tables = [
            score_table(scores, RESPONSE_METRICS, title),
            score_table(scores, CLASS_METRICS, f"{title}, sensitive or resistant"),
        ]
        figures = split_figures(results, scores) if draw else []
        printed = [] if published is None else published_tables(published, [scores.split, scores.kind], scores.split)
        shown = [part for part in tables if part is not None]
        sections.append(_Section(f"split-{scores.split}", title, shown, figures, printed))
    if not results.single_cell.empty:
        figures = cell_figures(results.single_cell, baselines) if draw else []
        printed = [] if published is None else published_tables(published, ["single_cell"], "single cells")
        tables = cell_tables(results.single_cell, baselines)
        sections.append(_Section("single-cells", "Single cells", tables, figures, printed))
    overview = overview_table(splits)
    return _Content(
        title=results.name,
        warnings=warnings_of(results, splits),
        overview=replace(overview, rows=[*screen_overview(results.screens, baselines), *overview.rows]),
        sections=sections,
        cost=cost_table(results.folds),
        provenance=provenance_of(results),
    )


def _tidy(results: Results) -> dict[str, str]:
    tables = {
        "scores.csv": results.scores, "per_drug.csv": results.per_drug, "screens.csv": results.screens,
        "single_cell.csv": results.single_cell,
    }  # fmt: skip
    return {name: table.to_csv(index=False, lineterminator="\n") for name, table in tables.items() if len(table)}


def _markdown(content: _Content, *, link: bool) -> str:
    lines = [f"# {escape(content.title)}", ""]
    lines += [f"- {sentence}" for sentence in READING] + [""]
    if content.warnings:
        lines += ["## Before reading", "", *(f"- {escape(text)}" for text in content.warnings), ""]
    lines += ["## Scores", "", START, ""]
    if content.overview.rows:
        lines += [table_markdown(content.overview)]
    for section in content.sections:
        shown = [table_markdown(table) for table in (*section.tables, *section.published)]
        lines += [f"<!-- {section.id} -->", "", *shown, f"<!-- end of {section.id} -->", ""]
    lines += [END, ""]
    if link:
        figures = [figure for section in content.sections for figure in section.figures]
        lines += ["## Plots", ""]
        lines += [f"![{escape(figure.caption)}](figures/{figure.name}.png)\n\n{figure.caption}\n" for figure in figures]
    if content.cost:
        lines += ["## Cost", "", table_markdown(content.cost)]
    lines += ["## Where the numbers come from", ""]
    for title, facts in content.provenance:
        lines += [f"### {title}", "", *(f"- {escape(name)}: {escape(text)}" for name, text in facts), ""]
    return "\n".join([*lines, f"Written by scdrug {__version__}. {DISCLAIMER}", ""])
