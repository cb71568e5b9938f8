"""Train the recipe of a model on a reference in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmark.transfer._lines import find_lines
from ..model._pretrained import load_pretrained
from ._cells import read_cells
from ._files import check_distinct
from ._formats import identify

if TYPE_CHECKING:
    from ..model._base import DrugResponseModel


def run_train(
    reference: Path, output: Path, *, recipe: str, exclude: Sequence[str], seed: int | None, overwrite: bool
) -> DrugResponseModel:
    """Train and save; what would stop this later is found before anything is trained.

    Raises
    ------
    FileExistsError
        If `output` exists and `overwrite` is off.
    KeyError
        If a line to leave out is not in the reference; the nearest names are offered.
    ValueError
        If the file is no reference.
    """
    check_distinct(input=reference, output=output)
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"{output} exists. Choose another folder, or pass --overwrite to replace the model in it."
        )
    trained = load_pretrained(recipe)
    lines = read_cells(identify(reference), backed=False)
    kept = lines[~find_lines(lines, (), exclude=exclude).held_out].copy()
    model = trained.retrain(kept, **({} if seed is None else {"seed": seed}))
    model.save(output, overwrite=overwrite)
    return model
