"""Does the default say more than chance? Its recipe against permuted responses and gene names, and a drug whose target is known."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._arguments import checked
from ..._constants import KEYS
from ...metrics import auroc
from ...metrics._bootstrap import percentile_interval
from ._score_lines import score_lines
from ._tasks import TASKS

if TYPE_CHECKING:
    from anndata import AnnData

    from ...model._base import DrugResponseModel

_LINE_KEY = "reference_line"
#: Breast lines with amplified ERBB2, and the drug that blocks its kinase.
_HER2, _HER2_DRUG = ("AU565", "BT474", "EVSAT", "MDAMB453"), "lapatinib"
_N_ASSIGNMENTS = 1000


@dataclass
class _Recipe:
    """The recipe of a model, in the form that the harness trains, with responses handed to other lines if asked."""

    recipe: DrugResponseModel
    permuted_by: np.random.Generator | None = None
    name: str = "recipe"
    tune: Mapping[str, Any] = field(default_factory=dict)
    #: The last model that was trained.
    trained: DrugResponseModel | None = None

    @property
    def model_class(self) -> type[DrugResponseModel]:
        return type(self.recipe)

    def fit(self, adata: AnnData, *, validation: pd.DataFrame | None = None, seed: int = 0) -> DrugResponseModel:
        if self.permuted_by is not None:
            adata = adata.copy()
            order = self.permuted_by.permutation(adata.n_obs)
            for key in (KEYS.RESPONSE, KEYS.SECOND):  # responses of a second screen go along
                if key in adata.obsm:
                    response = adata.obsm[key]
                    adata.obsm[key] = response.iloc[order].set_axis(response.index, axis=0)
        self.trained = self.recipe.retrain(adata)
        return self.trained


@checked
def check_default(
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    data: str | os.PathLike[str] | None = None,
    reference: AnnData | None = None,
    cells: AnnData | None = None,
    n_permutations: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Run controls of a model's recipe on cells of known lines, and set what is observed beside what chance gives.

    The recipe is trained without the lines of the cells. Then it is asked what it would say if there were nothing to learn
    (responses handed to other lines), nothing to read (gene names exchanged), and where the answer is known (lines with
    amplified *ERBB2* and lapatinib).

    Parameters
    ----------
    model
        Bundled model, folder of a saved one, or a trained model; only its recipe is used.
    data
        Folder with ``gdsc`` and ``sc/bc_atlas``; by default data sets are fetched.
    reference
        Bulk reference; by default GDSC2 in ln IC50.
    cells
        Cells × genes with the line of each in ``obs["reference_line"]``, as :func:`scdrug.datasets.breast_atlas` returns.
    n_permutations
        Trainings on permuted responses, and exchanges of gene names.
    seed
        Seed of both.

    Returns
    -------
    A row for each control: `control`, `statistic`, `observed`, `null` (mean), `null_low`, `null_high` (95 %), `n_null`, `holds`
    (whether observed is above `null_high`).

    ``"permuted responses"``
        `flat` and `contrast` of line means, see :func:`score_lines`.
    ``"exchanged genes"``
        Median reliability.
    ``"HER2 and lapatinib"``
        AUROC of predicted sensitivity, lines with amplified *ERBB2* against the others; left out where the reference has no
        lapatinib or the cells are of one kind.

    Raises
    ------
    FileNotFoundError
        If `data` lacks a file.
    KeyError, ValueError
        If lines are not in the reference, or it does not follow the data contract.

    Notes
    -----
    Chance is not zero for `flat`: lines of one tissue respond alike to many drugs, and permuting takes that from the training
    lines only.

    Examples
    --------
    >>> import scdrug
    >>> table = scdrug.benchmark.check_default(data="data")  # doctest: +SKIP
    """
    from ...tl._predict import predict_response, resolve_model

    if n_permutations < 1:
        raise ValueError(f"`n_permutations` must be at least 1; found {n_permutations}.")
    recipe = resolve_model(model)
    folder = None if data is None else Path(data)
    if reference is None:
        from ...datasets import gdsc

        reference = gdsc("GDSC2", path=None if folder is None else folder / "gdsc")
    cells = TASKS["breast_atlas"].load(folder, reference) if cells is None else cells
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spec = _Recipe(recipe)
        observed = _scores(spec, reference, cells, seed)
        null = [_scores(_Recipe(recipe, rng), reference, cells, seed) for _ in range(n_permutations)]
        rows = [_row("permuted responses", name, observed[name], [draw[name] for draw in null]) for name in observed]
        placed = predict_response(cells, spec.trained, copy=True)
        exchanged = []
        for _ in range(n_permutations):
            other = cells.copy()
            other.var_names = rng.permutation(cells.var_names)
            exchanged.append(
                _reliability(predict_response(other, spec.trained, drugs=spec.trained.drugs.index[:1], copy=True))
            )
        rows.append(_row("exchanged genes", "reliability", _reliability(placed), exchanged))
        rows.extend(_her2(placed, rng))
    return pd.DataFrame(rows)


def _scores(spec: _Recipe, reference: AnnData, cells: AnnData, seed: int) -> dict[str, float]:
    table = score_lines(spec, reference, cells, line_key=_LINE_KEY, levels=["line mean"], seeds=[seed], n_bootstrap=0)
    chosen = table[(table["model"] == spec.name) & (table["level"] == "line mean")].set_index("metric")["value"]
    return {name: float(chosen[name]) for name in ("flat", "contrast")}


def _reliability(adata: AnnData) -> float:
    return float(adata.obs[KEYS.RELIABILITY].median())


def _her2(placed: AnnData, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """AUROC of predicted sensitivity to lapatinib, and with the lines' kinds handed out at random."""
    percentile = placed.obsm[KEYS.PERCENTILE]
    if _HER2_DRUG not in percentile.columns:
        return
    by_line = percentile[_HER2_DRUG].groupby(placed.obs[_LINE_KEY].astype(str).to_numpy()).mean()
    amplified = by_line.index.isin(_HER2)
    if amplified.all() or not amplified.any():
        return
    score = by_line.to_numpy()
    null = [auroc(score, rng.permutation(amplified)) for _ in range(_N_ASSIGNMENTS)]
    yield _row("HER2 and lapatinib", "auroc", auroc(score, amplified), null)


def _row(control: str, statistic: str, observed: float, null: list[float]) -> dict[str, Any]:
    low, high = percentile_interval(np.array(null))
    return {
        "control": control,
        "statistic": statistic,
        "observed": observed,
        "null": float(np.mean(null)),
        "null_low": low,
        "null_high": high,
        "n_null": len(null),
        "holds": bool(observed > high),
    }
