"""`scdrug benchmark`: run, report and check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ._errors import clean_errors, console, state

benchmark_app = typer.Typer(
    help="Judge models without leaks, beside baselines that are hard to beat.", no_args_is_help=True
)
_Config = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Data, splits and models; see the user guide.")]
_Models = Annotated[str | None, typer.Option(help="Only these models, by name, separated by commas.")]
_Splits = Annotated[str | None, typer.Option(help="Only these splits, by name, separated by commas.")]


@benchmark_app.command()
def run(
    config: _Config,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for results; new, or to go on with.")],
    jobs: Annotated[int, typer.Option("--jobs", help="Folds at a time; -1 for one a core.")] = 1,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with data sets fetched by hand; fetched if omitted.")
    ] = None,
    models: _Models = None,
    splits: _Splits = None,
    resume: Annotated[
        bool, typer.Option("--resume/--overwrite", help="Go on with results in the folder, or delete them first.")
    ] = True,
) -> None:
    """Train and test every model on every fold; a run that was stopped goes on where it ended."""
    from ._benchmark_run import run_benchmark

    with clean_errors(debug=state["debug"]):
        run_benchmark(
            config,
            out,
            n_jobs=jobs,
            data=data,
            models=_names(models),
            splits=_names(splits),
            overwrite=not resume,
            console=console,
        )


@benchmark_app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `scdrug benchmark run` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="One .html, .md or .csv file, or a folder; DIR/report if omitted."),
    ] = None,
    published: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Figures in print to stand beside, marked as other data.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.")] = False,
) -> None:
    """Write tables, plots and a page from results, finished or not."""
    from ._benchmark_run import report_benchmark

    with clean_errors(debug=state["debug"]):
        report_benchmark(folder, out, published=published, overwrite=overwrite, console=console)


@benchmark_app.command()
def check(config: _Config, models: _Models = None, splits: _Splits = None) -> None:
    """Check a configuration and show what would be run, without any training."""
    from ._benchmark_run import check_benchmark

    with clean_errors(debug=state["debug"]):
        with console.status(f"Checking {escape(str(config))}"):
            shown = check_benchmark(config, models=_names(models), splits=_names(splits))
        for part in shown:
            console.print(part)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
