"""How far a pass over many cells is: a bar on a terminal, nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._settings import settings


@contextmanager
def progress(what: str, n_cells: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar with cells per second and the time left, if ``settings.progress`` is on and a person is looking.

    Parameters
    ----------
    what
        What is being done, such as ``"Predicting"``.
    n_cells
        How many cells there are.
    done
        How many of them an earlier run did.

    Yields
    ------
    Function that is told the number of cells that were done since it was last called.
    """
    if not settings.progress or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f} cells/s", style="progress.data.speed")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} cells"),
        Speed(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=n_cells, completed=done)
        yield lambda n: bar.advance(task, n)
