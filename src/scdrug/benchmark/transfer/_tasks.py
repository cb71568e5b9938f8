"""Single-cell tasks with real data, by name."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..._constants import KEYS
from ..._validate import check_choice, examples
from .._search import Search
from ._data import Genes
from ._score_labels import score_labels
from ._score_lines import score_lines

if TYPE_CHECKING:
    from anndata import AnnData

    from .._spec import ModelSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """Where the cells come from, and how they are scored."""

    load: Callable[[Path | None], AnnData]
    score: Callable[..., pd.DataFrame]
    #: Arguments of `score` that belong to the data.
    arguments: Mapping[str, Any]
    genes: Genes = "all"
    #: Arguments of `tl.predict_response` that belong to the data.
    options: Mapping[str, Any] = field(default_factory=dict)


def _sc_mixology(folder: Path | None) -> AnnData:
    from ...datasets import sc_mixology

    cells = sc_mixology(path=_inside(folder, "sc_mixology"))
    return cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()


def _a375(folder: Path | None) -> AnnData:
    from ...datasets import a375_plx4720

    cells = a375_plx4720(path=_inside(folder, "a375"))
    # names tell the culture: A375_sc_par_… (parental) or A375_sc_br_… (grown under the drug until resistant)
    culture = pd.Series(cells.obs_names).str.extract(r"_(par|br)_", expand=False).to_numpy(dtype=object)
    cells.obs["culture"] = np.where(culture == "par", "parental", np.where(culture == "br", "treated", "unknown"))
    return cells


def _inside(folder: Path | None, name: str) -> Path | None:
    """Folder of a data set: ``sc/<name>`` or ``<name>`` in a folder of data sets."""
    if folder is None:
        return None
    for candidate in (folder / "sc" / name, folder / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{folder} holds neither 'sc/{name}' nor '{name}'. Put the files of the cells there.")


#: The tasks.
TASKS: Mapping[str, _Task] = {
    "sc_mixology": _Task(_sc_mixology, score_lines, {"line_key": "cell_line"}),
    "a375": _Task(
        _a375,
        score_labels,
        {
            "drug": "PLX-4720",
            "exclude": ["A375"],
            "label_key": "sensitive",
            "treatment_key": "culture",
            "line_key": "cell_line",
            "control_drugs": ["gefitinib", "cisplatin", "paclitaxel"],
        },
        genes="shared",
        options={"scale": "scaled", "min_coverage": 0.2},
    ),
}


def run_single_cell(
    specs: ModelSpec | Sequence[ModelSpec],
    *,
    task: Literal["sc_mixology", "a375"] = "sc_mixology",
    data: str | os.PathLike[str] | None = None,
    reference: AnnData | None = None,
    release: Literal["GDSC1", "GDSC2"] = "GDSC2",
    measure: Literal["ln_IC50", "AUC"] = "ln_IC50",
    genes: Genes | None = None,
    seeds: Sequence[int] = (0,),
    search: Search | None = None,
    options: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
) -> pd.DataFrame:
    """Load a single-cell task, and score models on it.

    Parameters
    ----------
    specs
        Models to train.
    task
        ``"sc_mixology"``: five lung cancer lines, see :func:`scdrug.datasets.sc_mixology` and :func:`score_lines`.
        ``"a375"``: melanoma cells, parental and resistant to PLX-4720, see :func:`scdrug.datasets.a375_plx4720` and
        :func:`score_labels`.
    data
        Folder with ``gdsc`` and ``sc/sc_mixology`` or ``sc/a375``; by default data sets are fetched.
    reference
        Bulk reference to train on; by default GDSC. `release` and `measure` are then not used.
    release, measure
        Of GDSC, see :func:`scdrug.datasets.gdsc`. Measures differ in what they transfer, so that it is worth to try both, but
        the one with the better score on the cells was chosen with hindsight.
    genes
        ``"all"``, or ``"shared"`` to train on the genes that the cells measure. By default ``"shared"`` for A375, of
        whose cells few genes are known, else ``"all"``.
    seeds, search, options, n_bootstrap
        See :func:`score_lines`. `options` are added to those that belong to the data.

    Returns
    -------
    The tables of all models; the naive baseline stands there once.

    Raises
    ------
    FileNotFoundError
        If `data` lacks a file.
    ValueError
        For an unknown task, or two models of one name.

    Examples
    --------
    >>> from scdrug.benchmark import run_single_cell
    >>> from scdrug.benchmark import ModelSpec
    >>> scores = run_single_cell(ModelSpec("ridge", "KernelRidge"), task="a375", data="data")  # doctest: +SKIP
    """
    check_choice("task", task, tuple(TASKS))
    specs = list(specs) if isinstance(specs, Sequence) else [specs]
    names = [spec.name for spec in specs]
    if not specs or len(set(names)) < len(names):
        raise ValueError(f"Expected models with different names; found {examples(names) or 'none'}.")
    chosen = TASKS[task]
    folder = None if data is None else Path(data)
    if reference is None:
        from ...datasets import gdsc

        reference = gdsc(release, measure=measure, path=None if folder is None else folder / "gdsc")
    cells = chosen.load(folder)
    arguments = _known_controls(chosen.arguments, reference)
    tables = []
    for spec in specs:
        with warnings.catch_warnings():
            if tables:  # the same cells give the same warnings
                warnings.simplefilter("ignore", UserWarning)
            table = chosen.score(
                spec,
                reference,
                cells,
                **arguments,
                genes=genes or chosen.genes,
                seeds=seeds,
                search=search,
                options={**chosen.options, **(options or {})},
                n_bootstrap=n_bootstrap,
                task=task,
            )
        tables.append(table[table["model"] == spec.name] if tables else table)
    return pd.concat(tables, ignore_index=True)


def _known_controls(arguments: Mapping[str, Any], reference: AnnData) -> dict[str, Any]:
    """Arguments without control drugs that this reference does not have."""
    from ...pp._drugs import resolve_drugs

    known = []
    for drug in arguments.get("control_drugs", ()):
        try:
            known += resolve_drugs([drug], reference.uns[KEYS.DRUGS])
        except KeyError:
            logger.info("The reference has no %s, which would serve as control.", drug)
    return {**arguments, **({"control_drugs": known} if "control_drugs" in arguments else {})}
