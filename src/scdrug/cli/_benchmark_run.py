"""What the benchmark commands do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .._validate import check_choice
from ._tables import to_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..benchmark import Config, ModelSpec
    from ..benchmark.report._format import Table as ReportTable

_NOT_ASKED, _CANNOT = "–", "cannot"


def run_benchmark(
    config: Path,
    out: Path,
    *,
    n_jobs: int,
    data: Path | None,
    models: Sequence[str] | None,
    splits: Sequence[str] | None,
    overwrite: bool,
    console: Console,
) -> None:
    """Run a configuration with a progress bar.

    Parameters
    ----------
    config, out, n_jobs, data, models, splits, overwrite
        As for :func:`scdrug.benchmark.run_config`.
    console
        Where to print.

    Raises
    ------
    FileNotFoundError
        If `data` is no folder.
    ValueError
        If `n_jobs` is zero or below minus one.
    """
    from .. import benchmark

    if n_jobs == 0 or n_jobs < -1:
        raise ValueError(f"--jobs must be at least 1, or -1 for one a core; found {n_jobs}.")
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"There is no folder {data}. It must hold a folder for each data set, or omit --data.")
    parsed = benchmark.read_config(config)
    with _progress(console) as bar:
        task = bar.add_task("loading data", total=None)

        def show(done: int, total: int, label: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(label))

        results = benchmark.run_config(
            parsed,
            out,
            data=data,
            models=models,
            splits=splits,
            n_jobs=n_jobs,
            progress=show,
            overwrite=overwrite,
        )
    console.print(f"Results: {escape(str(results.folder))}", soft_wrap=True)
    console.print(f"Next: scdrug benchmark report {escape(str(out))}", soft_wrap=True)


def report_benchmark(
    folder: Path, out: Path | None, *, published: Path | None, overwrite: bool, console: Console
) -> None:
    """Write a report and print its overview.

    Parameters
    ----------
    folder
        Results.
    out
        File or folder; ``report`` in `folder` if omitted, which is replaced.
    published
        Figures in print.
    overwrite
        Whether an existing file is replaced.
    console
        Where to print.

    Raises
    ------
    FileExistsError
        If the file exists.
    """
    from .. import benchmark
    from ..benchmark.report._notes import find_baselines, warnings_of
    from ..benchmark.report._write import collect_splits, write_report

    if out is not None and out.is_file() and not overwrite:
        raise FileExistsError(f"{out} exists. Choose another name, or pass --overwrite to replace it.")
    results = benchmark.read_results(folder)
    with console.status("Writing the report"):
        paths = write_report(results, out or folder / "report", published=published)
        splits = collect_splits(results, find_baselines(results))
    for table in _summaries(splits):
        console.print(table)
    for text in warnings_of(results, splits):
        console.print(f"[yellow]Note:[/yellow] {escape(text)}")
    shown = [path for path in paths if path.suffix != ".png"]
    for path in shown:
        console.print(escape(str(path)), soft_wrap=True)
    if len(shown) < len(paths):
        console.print(f"{len(paths) - len(shown)} plots in {escape(str(paths[-1].parent))}", soft_wrap=True)


def check_benchmark(config: Path, *, models: Sequence[str] | None, splits: Sequence[str] | None) -> list[Any]:
    """Validate a configuration and tell what would be run.

    Parameters
    ----------
    config
        The file.
    models, splits
        Names to restrict the run to.

    Returns
    -------
    What to print: a table of models × splits with numbers of folds, and sentences.

    Raises
    ------
    FileNotFoundError, ValueError
        If it cannot be run as it stands.
    """
    from .. import benchmark

    parsed = benchmark.read_config(config)
    for argument, names, known in (
        ("--models", models, [spec.name for spec in parsed.models]),
        ("--splits", splits, list(parsed.splits)),
    ):
        for name in names or ():
            check_choice(argument, name, known)
    folds = {name: part for name, part in _folds(parsed).items() if splits is None or name in splits}
    specs = [spec for spec in parsed.models if models is None or spec.name in models]
    plan = _plan(specs, folds)
    total = sum(value for row in plan.values() for value in row.values() if isinstance(value, int))
    if not total:
        raise ValueError("No model can run on any of the splits. See `splits` of the models in the configuration.")
    table = pd.DataFrame.from_dict(plan, orient="index").reset_index(names="model").astype(str)
    shown: list[Any] = [
        to_table(table, list(table.columns), title=escape(f"{parsed.name}: folds to run"), whole=["model"])
    ]
    if any(_CANNOT in row.values() for row in plan.values()):
        shown.append("cannot: takes no drugs that were not in training; such a model is left out of the split.")
    tuned = {spec.name: ", ".join(spec.tune) for spec in specs if spec.tune}
    shown += [f"{escape(name)} tunes {escape(what)} on validation data in each fold." for name, what in tuned.items()]
    if parsed.screens:
        shown.append(f"Held-out lines are judged by {escape(', '.join(parsed.screens))}.")
    tasks = [str(entry.get("name", entry["task"])) for entry in parsed.single_cell]
    if tasks:
        shown.append(f"Single cells: {escape(', '.join(tasks))}.")
    source = parsed.data.get("dataset") or parsed.data.get("file")
    size = f"{len(folds)} splits × {len(specs)} models, {total} folds in all"
    shown.append(f"{size}, on {escape(str(source))}. Nothing was trained.")
    return shown


def _folds(config: Config) -> dict[str, tuple[str, int]]:
    """Kind and number of folds of each split; files of splits are read."""
    from ..benchmark import read_splits

    found = {}
    for name, part in config.splits.items():
        if "file" in part:
            splits = read_splits(config.folder / str(part["file"]))
            found[name] = splits.kind, len(splits)
        else:
            found[name] = str(part["kind"]), config.n_folds[name]
    return found


def _plan(specs: Sequence[ModelSpec], folds: dict[str, tuple[str, int]]) -> dict[str, dict[str, int | str]]:
    plan: dict[str, dict[str, int | str]] = {}
    for spec in specs:
        row: dict[str, int | str] = {}
        new_drugs = None
        for split, (kind, n) in folds.items():
            if spec.splits is not None and split not in spec.splits:
                row[split] = _NOT_ASKED
                continue
            row[split] = n
            if kind in ("drug", "disjoint"):
                new_drugs = _takes_new_drugs(spec) if new_drugs is None else new_drugs
                if not new_drugs and spec.splits is not None:
                    raise ValueError(
                        f"{spec.name!r} ({spec.model_name}) cannot predict drugs that were not in training, as the split "
                        f"{split!r} asks. Leave it out of its `splits`, or give it features of drugs (for KernelRidge and "
                        "AdditiveMean `drug_kernel: tanimoto`)."
                    )
                row[split] = n if new_drugs else _CANNOT
        plan[spec.name] = row
    return plan


def _takes_new_drugs(spec: ModelSpec) -> bool:
    """Whether the model, with its parameters, takes drugs from their structure; asked on a toy screen."""
    from ..benchmark._runner import takes_unseen_drugs
    from ..datasets import toy

    return takes_unseen_drugs(spec, toy(n_lines=20), "response")


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
    )


def _summaries(splits: Sequence[Any]) -> list[Table]:
    """The tables of the report that hold scores of responses, for the terminal."""
    from ..benchmark.report._tables import CLASS_METRICS, RESPONSE_METRICS, score_table

    tables = []
    for scores in splits:
        for metrics in (RESPONSE_METRICS, CLASS_METRICS):
            table = score_table(scores, metrics, f"Split {scores.split}")
            if table is not None:
                tables.append(_for_terminal(table))
                break
    return tables


def _for_terminal(table: ReportTable) -> Table:
    from rich.box import SIMPLE_HEAD

    title = f"{escape(table.title)}, mean over folds"
    style = {"title_justify": "left", "header_style": "bold", "collapse_padding": True, "pad_edge": False}
    shown = Table(title=title, box=SIMPLE_HEAD, **style)
    unfinished = any("†" in row.cells[-1].text for row in table.rows)
    dropped = ("Δ",) if unfinished else ("Δ", "folds")
    kept = [n for n, name in enumerate(table.columns[1:]) if not name.startswith(dropped)]
    shown.add_column("model", min_width=16)
    for position in kept:
        head = table.columns[position + 1]
        shown.add_column(escape(head), justify="right", min_width=max(map(len, head.split())))
    for row in table.rows:
        cells = [row.cells[position] for position in kept]
        # spreads stand in the report; a terminal is narrow
        texts = [escape(cell.text.split(" ± ")[0]) for cell in cells]
        texts = [f"[bold]{text}[/bold]" if cell.best else text for text, cell in zip(texts, cells)]
        shown.add_row(escape(row.label), *texts, style="dim" if row.kind == "reference" else None)
    return shown
