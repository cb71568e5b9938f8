"""Commands and their options. Heavy imports stand inside, so that ``--help`` is instant."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .. import __version__
from .._constants import DISCLAIMER
from ._benchmark import benchmark_app
from ._errors import clean_errors, console
from ._errors import state as _state

app = typer.Typer(
    name="scdrug",
    help="Predict how single cells respond to drugs. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
datasets_app = typer.Typer(help="Data sets: list and fetch.", no_args_is_help=True)
drugs_app = typer.Typer(help="Drugs that a model predicts.", no_args_is_help=True)
models_app = typer.Typer(help="Models.", no_args_is_help=True)
app.add_typer(datasets_app, name="datasets")
app.add_typer(drugs_app, name="drugs")
app.add_typer(models_app, name="models")
app.add_typer(benchmark_app, name="benchmark")


def _version(value: bool) -> None:
    if value:
        console.print(f"scdrug {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    _state["debug"] = debug


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for plots and report.")] = Path("scdrug_demo"),
    cells: Annotated[
        str, typer.Option("--cells", help="'tumour' (needs no network), or 'lung': five cell lines, sequenced deeply.")
    ] = "tumour",
    path: Annotated[
        Path | None, typer.Option("--path", help="Folder with the files of the lung lines, instead of fetching them.")
    ] = None,
) -> None:
    """Predict real cells: an oligodendroglioma (Tirosh et al. 2016), or lung cancer lines."""
    from ._demo import run_demo

    with clean_errors(debug=_state["debug"]):
        start = time.perf_counter()
        run_demo(out, console, cells=cells, path=path)
        console.print(f"\n[dim]{time.perf_counter() - start:.0f} s. {DISCLAIMER}[/dim]", highlight=False)


@app.command()
def predict(
    cells: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Cells × genes: .h5ad, .zarr, .h5mu, or .h5 of Cell Ranger; counts, CPM/TPM or logarithms.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where to write a copy with results: .h5ad or .zarr; with --groups a table: .csv.",
        ),
    ],
    model: Annotated[str, typer.Option(help="Bundled model, or folder of a saved one.")] = "default",
    drugs: Annotated[str | None, typer.Option(help="Drugs by name or id, separated by commas; all if omitted.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer to read; X if omitted.")] = None,
    scale: Annotated[str, typer.Option(help="counts, linear, log, scaled, or auto.")] = "auto",
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Predict the groups of this column of obs instead of single cells, in little memory, and write a table.",
        ),
    ] = None,
    groupby: Annotated[str | None, typer.Option(help="Column of obs to rank drugs by, e.g. clones.")] = None,
    reference: Annotated[
        str, typer.Option(help="Group to compare with, e.g. normal cells; 'rest' for all others.")
    ] = "rest",
    sample_key: Annotated[str | None, typer.Option(help="Column of obs that names donors, the replicates.")] = None,
    fit_on: Annotated[
        str | None, typer.Option(help="Boolean column of obs: cells that decide the platform offset.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Modality of an .h5mu file; the one with the model's genes if omitted.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="REPORT.html", help="Write a report.")] = None,
    backed: Annotated[
        bool | None, typer.Option("--backed/--in-memory", help="Read cells block by block; by size if omitted.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")] = False,
) -> None:
    """Predict the response of each cell to each drug, and rank drugs by group."""
    from ._groups import run_groups
    from ._predict import run_predict

    names = None if drugs is None else [name.strip() for name in drugs.split(",") if name.strip()]
    with clean_errors(debug=_state["debug"]):
        if groups is not None:
            if groupby is not None or report is not None or reference != "rest":
                raise ValueError(
                    "--groups writes a table of groups, without ranking: leave out --groupby, --reference and --report, or --groups."
                )
            run_groups(
                cells,
                output,
                groups=groups,
                model=model,
                sample_key=sample_key,
                modality=modality,
                backed=backed,
                overwrite=overwrite,
                console=console,
                drugs=names,
                layer=layer,
                scale=scale,
                fit_on=fit_on,
            )
            return
        run_predict(
            cells,
            output,
            model=model,
            drugs=names,
            layer=layer,
            scale=scale,
            groupby=groupby,
            reference=reference,
            sample_key=sample_key,
            fit_on=fit_on,
            modality=modality,
            report=report,
            backed=backed,
            overwrite=overwrite,
            console=console,
        )


@app.command()
def train(
    reference: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCE", help="Lines × genes with responses: .h5ad or .zarr, see pp.build_reference."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder to save the model to.")],
    recipe: Annotated[
        str, typer.Option(help="Bundled model, or folder of a saved one, whose recipe to use.")
    ] = "default",
    exclude: Annotated[
        str | None, typer.Option(help="Lines to leave out, separated by commas, in any spelling.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, for models that draw anything.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model.")] = False,
) -> None:
    """Train the recipe of a model on a reference of your own."""
    from ._train import run_train

    lines = [] if exclude is None else [name.strip() for name in exclude.split(",") if name.strip()]
    with clean_errors(debug=_state["debug"]):
        model = run_train(reference, output, recipe=recipe, exclude=lines, seed=seed, overwrite=overwrite)
        console.print(escape(repr(model)), highlight=False)
        console.print(f"Model: {escape(str(output))}", soft_wrap=True)
        console.print(f"Next: scdrug predict IN -o OUT --model {escape(str(output))}", soft_wrap=True)


@datasets_app.command("list")
def datasets_list() -> None:
    """Show all data sets with size and licence."""
    from ._datasets import datasets_table
    from ._tables import to_table

    with clean_errors(debug=_state["debug"]):
        table = datasets_table()
        console.print(to_table(table, list(table.columns), whole=["data set", "size"]))


@datasets_app.command("fetch")
def datasets_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets, see `scdrug datasets list`.")],
    offline: Annotated[bool, typer.Option("--offline", help="Use the cache only.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Download again.")] = False,
) -> None:
    """Fetch data sets into the cache (SCDRUG_DATA_DIR), checked by hash."""
    from ..datasets import fetch

    with clean_errors(debug=_state["debug"]):
        for name in names:
            console.print(f"{escape(name)}: {escape(str(fetch(name, offline=offline, force=force)))}", soft_wrap=True)


@drugs_app.command("search")
def drugs_search(
    name: Annotated[str, typer.Argument(help="Part of a name, target or pathway; typing errors are forgiven.")],
    model: Annotated[str, typer.Option(help="Bundled model, or folder of a saved one.")] = "default",
) -> None:
    """Find drugs of a model by name, target or pathway."""
    from ._drugs import search_drugs
    from ._tables import to_table

    with clean_errors(debug=_state["debug"]):
        found = search_drugs(name, model)
        if found.empty:
            raise KeyError(f"No drug, target or pathway like {name!r} in the model {model!r}.")
        console.print(to_table(found, ["id", "name", "targets", "pathway"], whole=["id"]))


@models_app.command("list")
def models_list() -> None:
    """Show bundled models and model classes."""
    from ._tables import to_table

    with clean_errors(debug=_state["debug"]), console.status("Loading models"):
        from ..model import list_models

        table = list_models().reset_index()
    columns = ["name", "kind", "unseen_cells", "unseen_drugs", "completes", "summary"]
    console.print(to_table(table, columns, whole=["name", "kind"]))


def _terminated(*_: object) -> None:
    raise SystemExit(143)


def main() -> None:
    """Run the command."""
    # a polite kill unwinds like any other end, so that nothing is left half written
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped; nothing was left half written.")
        sys.exit(130)
