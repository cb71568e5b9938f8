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

from ..._arguments import checked
from ..._constants import KEYS
from ..._validate import check_choice, examples
from .._search import Search
from ._data import Genes
from ._lines import find_lines
from ._score_control import score_control
from ._score_labels import score_labels
from ._score_lines import score_lines
from ._simulate import simulate_cells

if TYPE_CHECKING:
    from anndata import AnnData

    from .._spec import ModelSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """Where the cells come from, and how they are scored."""

    load: Callable[[Path | None, AnnData], AnnData]
    score: Callable[..., pd.DataFrame]
    #: Arguments of `score` that belong to the data.
    arguments: Mapping[str, Any]
    genes: Genes = "all"
    #: Arguments of `tl.predict_response` that belong to the data.
    options: Mapping[str, Any] = field(default_factory=dict)


def _sc_mixology(folder: Path | None, _: AnnData) -> AnnData:
    from ...datasets import sc_mixology

    cells = sc_mixology(path=_inside(folder, "sc_mixology"))
    return cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()


def _a375(folder: Path | None, _: AnnData) -> AnnData:
    from ...datasets import a375_plx4720

    cells = a375_plx4720(path=_inside(folder, "a375"))
    # names tell the culture: A375_sc_par_… (parental) or A375_sc_br_… (grown under the drug until resistant)
    culture = pd.Series(cells.obs_names).str.extract(r"_(par|br)_", expand=False).to_numpy(dtype=object)
    cells.obs["culture"] = np.where(culture == "par", "parental", np.where(culture == "br", "treated", "unknown"))
    return cells


def _breast_atlas(folder: Path | None, _: AnnData) -> AnnData:
    from ...datasets import breast_atlas

    cells = breast_atlas(path=_inside(folder, "bc_atlas"))
    return cells[(cells.obs["reference_line"] != "").to_numpy()].copy()


def _pbmc(folder: Path | None, _: AnnData) -> AnnData:
    from ...datasets import pbmc

    return pbmc(path=_inside(folder, "pbmc80"))


def _simulated(_: Path | None, reference: AnnData) -> AnnData:
    return simulate_cells(reference, exclude=_present(reference, TEST_LINES))


def _present(reference: AnnData, names: Sequence[str]) -> list[str]:
    """Names of lines that the reference has."""
    found = find_lines(reference, (), exclude=names, must_exist=False).rows
    return [name for name in names if len(found.get(name, ()))]


def _inside(folder: Path | None, name: str) -> Path | None:
    """Folder of a data set: ``sc/<name>`` or ``<name>`` in a folder of data sets."""
    if folder is None:
        return None
    for candidate in (folder / "sc" / name, folder / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{folder} holds neither 'sc/{name}' nor '{name}'. Put the files of the cells there.")


#: Lines of the real tasks, which simulated cells, on which one may choose, must not show.
TEST_LINES = (
    "A549", "H1975", "H2228", "H838", "HCC827", "A375", "AU565", "BT-474", "BT-549", "CAL-85-1", "DU-4475", "EVSA-T", "HCC1187",
    "HCC1937", "HCC38", "Hs-578-T", "MCF7", "MDA-MB-415", "MDA-MB-453", "T47D",
)  # fmt: skip
#: The tasks.
TASKS: Mapping[str, _Task] = {
    "sc_mixology": _Task(_sc_mixology, score_lines, {"line_key": "cell_line"}),
    "breast_atlas": _Task(_breast_atlas, score_lines, {"line_key": "reference_line"}),
    "pbmc": _Task(_pbmc, score_control, {}),
    "simulated": _Task(_simulated, score_lines, {"line_key": "cell_line", "exclude": TEST_LINES}),
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


#: Sets of He et al. 2025 whose lines are known; GSE117872 are primary cultures, of which no reference holds a line.
_LINES_OF = {"GSE117872": (), "GSE156246-BT474": ("BT-474",), "GSE156246-HCC1419": ("HCC1419",)}


def _he2025(accession: str | None, exclude: Sequence[str] | None) -> _Task:
    """Cells of table 1 of He et al. 2025, which are loaded to learn their drug."""
    from ... import datasets

    if accession is None:
        raise ValueError("The task 'he2025' needs `accession`, such as 'GSE117872'; see scdrug.datasets.he2025.")
    if exclude is None and accession not in _LINES_OF:
        raise ValueError(
            f"`exclude` must name the lines that the cells of {accession} come from, so that they are not trained on; an "
            "empty list if the reference has none of them."
        )
    lines = list(_LINES_OF[accession] if exclude is None else exclude)

    def load(folder: Path | None, _: AnnData) -> AnnData:
        path = None if folder is None else _inside(folder, "he2025")
        return datasets.he2025(accession, path=path)

    return _Task(load, score_labels, {"exclude": lines, "label_key": "sensitive"}, genes="shared")


@checked
def run_single_cell(
    specs: ModelSpec | Sequence[ModelSpec],
    *,
    task: Literal["sc_mixology", "breast_atlas", "pbmc", "simulated", "a375", "he2025"] = "sc_mixology",
    accession: str | None = None,
    exclude: Sequence[str] | None = None,
    one_drug: bool = False,
    data: str | os.PathLike[str] | None = None,
    reference: AnnData | None = None,
    release: Literal["GDSC1", "GDSC2"] = "GDSC2",
    measure: Literal["ln_IC50", "AUC"] = "ln_IC50",
    screen: Literal["GDSC1", "GDSC2"] | None = None,
    genes: Genes | None = None,
    seeds: int | Sequence[int] = (0,),
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
        ``"breast_atlas"``: breast lines by Drop-seq, see :func:`scdrug.datasets.breast_atlas`, scored alike.
        ``"pbmc"``: healthy blood cells, which should be refused, see :func:`scdrug.datasets.pbmc` and :func:`score_control`.
        ``"a375"``: melanoma cells, parental and resistant to PLX-4720, see :func:`scdrug.datasets.a375_plx4720` and
        :func:`score_labels`. ``"simulated"``: forty lines of the tissue that most lines have, cells drawn from their bulk
        profiles by :func:`simulate_cells`; the lines of the other tasks are neither drawn nor trained on, so that
        choices can be made here. ``"he2025"``: a set of cells with labels of He et al. 2025, see
        :func:`scdrug.datasets.he2025`.
    accession
        Of the set of ``"he2025"``.
    exclude
        Lines that the cells of ``"he2025"`` come from, which are not trained on; known for ``"GSE117872"`` and both sets of
        ``"GSE156246"``.
    one_drug
        Train on responses to the drug of the labels alone, as He et al. 2025 do; for tasks with labels.
    data
        Folder with ``gdsc`` and ``sc/sc_mixology``, ``sc/bc_atlas``, ``sc/pbmc80``, ``sc/a375`` or ``sc/he2025``; by default data sets are fetched.
    reference
        Bulk reference to train on; by default GDSC. `release` and `measure` are then not used.
    release, measure
        Of GDSC, see :func:`scdrug.datasets.gdsc`. Measures differ in what they transfer, so that it is worth to try both, but
        the one with the better score on the cells was chosen with hindsight.
    screen
        The other release of GDSC, beside which models are set; for tasks with measured responses, see :func:`score_lines`.
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
        For an unknown task, two models of one name, or arguments that do not belong to the task.

    Examples
    --------
    >>> from scdrug.benchmark import run_single_cell
    >>> from scdrug.benchmark import ModelSpec
    >>> scores = run_single_cell(ModelSpec("ridge", "KernelRidge"), task="a375", data="data")  # doctest: +SKIP
    """
    check_choice("task", task, (*TASKS, "he2025"))
    if task != "he2025" and (accession is not None or exclude is not None):
        raise ValueError(f"`accession` and `exclude` belong to the task 'he2025'; found them for {task!r}.")
    specs = list(specs) if isinstance(specs, Sequence) else [specs]
    names = [spec.name for spec in specs]
    if not specs or len(set(names)) < len(names):
        raise ValueError(f"Expected models with different names; found {examples(names) or 'none'}.")
    folder = None if data is None else Path(data)
    chosen = _he2025(accession, exclude) if task == "he2025" else TASKS[task]
    if one_drug and chosen.score is not score_labels:
        raise ValueError(f"`one_drug` needs a task with labels of one drug; {task!r} has responses to many.")
    if screen is not None and chosen.score is not score_lines:
        raise ValueError(f"`screen` needs a task with measured responses of lines; {task!r} has none.")
    if reference is None:
        from ...datasets import gdsc

        reference = gdsc(release, measure=measure, path=None if folder is None else folder / "gdsc")
    cells = chosen.load(folder, reference)
    arguments = dict(chosen.arguments)
    if screen is not None:
        arguments["screen"] = _second_screen(screen, reference, measure, folder)
    if task == "simulated":  # nothing is missed if the reference lacks a line of another task
        arguments["exclude"] = _present(reference, arguments["exclude"])
    if task == "he2025":
        arguments["drug"] = str(cells.uns[KEYS.DATASET]["drug"])
    if one_drug:
        reference = _with_one_drug(reference, arguments["drug"])
    arguments = _known_controls(arguments, reference)
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


def _second_screen(release: str, reference: AnnData, measure: str, folder: Path | None) -> AnnData:
    """Another release of GDSC in the measure of the reference."""
    from ...datasets import gdsc

    if release == reference.uns.get(KEYS.DATASET, {}).get("release"):
        raise ValueError(
            f"`screen` must be another release than the one that is trained on; found {release!r} for both."
        )
    found = reference.uns[KEYS.RESPONSE].get("measure")
    measure = found if found in ("ln_IC50", "AUC") else measure
    return gdsc(release, measure=measure, path=None if folder is None else folder / "gdsc")


def _with_one_drug(reference: AnnData, drug: str) -> AnnData:
    """Lines that were screened with a drug, without the responses to others."""
    from ...pp._drugs import resolve_drugs

    ids = resolve_drugs([drug], reference.uns[KEYS.DRUGS])
    response = reference.obsm[KEYS.RESPONSE][ids]
    one = reference[response.notna().any(axis=1).to_numpy()].copy()
    one.obsm[KEYS.RESPONSE] = response.loc[one.obs_names]
    one.uns[KEYS.DRUGS] = reference.uns[KEYS.DRUGS].loc[ids]
    return one


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
