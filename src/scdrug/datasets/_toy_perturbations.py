"""Synthetic perturbation profiles that obey the truth of the toy reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ._toy import _card, _check_numbers, _expression, _generator, _genes
from ._toy_content import DRUGS, EFFECTS, PATHWAYS

if TYPE_CHECKING:
    from anndata import AnnData

_DOSES, _TIMES = (0.1, 1.0, 10.0), (6.0, 24.0)
_CONTROLS_PER_PLATE = 4


@checked
def toy_perturbations(*, n_profiles: int = 240, n_drugs: int = 12, n_genes: int = 300, seed: int = 0) -> AnnData:
    """Make synthetic profiles of treated lines and their controls, with the drugs and genes of :func:`~scdrug.datasets.toy`.

    A drug lowers the activity of the pathways that sensitise to it, more so at higher doses and later. Profiles stand on plates
    with a shift of their own and four vehicle controls each, with which they are paired already.

    Parameters
    ----------
    n_profiles
        Number of treated profiles, at least 12.
    n_drugs
        Number of drugs, 1-20.
    n_genes
        Number of genes, at least 200.
    seed
        Seed of everything random, as in :func:`~scdrug.datasets.toy`.

    Returns
    -------
    Profiles × genes:

    ``X``
        Expression, log2, float32.
    ``layers['control']``
        Mean of the controls on the same plate, see :func:`scdrug.pp.pair_controls`; NaN for controls.
    ``obs``
        ``drug``, ``smiles``, ``dose`` (µM), ``time`` (h), ``plate``, ``cell_line``, ``control``.
    ``uns['perturbation']``
        Units of dose and time.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import scdrug
    >>> treated = scdrug.datasets.toy_perturbations()
    >>> treated.shape, int(treated.obs["control"].sum())
    ((272, 300), 32)
    """
    from anndata import AnnData

    from ..pp._perturbation import pair_controls

    _check_numbers(n_profiles=(n_profiles, 12, None), n_drugs=(n_drugs, 1, len(DRUGS)), n_genes=(n_genes, 200, None))
    genes, baseline, loading = _genes(n_genes, seed)
    rng = _generator(seed, "perturbations")
    n_plates = max(n_profiles // 30, 1)
    n_controls = _CONTROLS_PER_PLATE * n_plates
    plate = np.concatenate([np.arange(n_profiles) % n_plates, np.repeat(np.arange(n_plates), _CONTROLS_PER_PLATE)])
    drug, dose, time = (rng.integers(n, size=n_profiles) for n in (n_drugs, len(_DOSES), len(_TIMES)))
    activity = rng.normal(size=(n_plates, len(PATHWAYS)))[plate]
    column = {pathway: position for position, pathway in enumerate(PATHWAYS)}
    for row in range(n_profiles):
        strength = (0.4, 0.8, 1.0)[dose[row]] * (0.7, 1.0)[time[row]]
        for pathway, effect in EFFECTS[DRUGS[drug[row]][0]].items():
            activity[row, column[pathway]] += 2.0 * strength * min(effect, 0.0)
    shift = rng.normal(scale=0.3, size=(n_plates, n_genes))
    values = _expression(activity, genes, baseline, loading) + shift[plate]
    values = (values + rng.normal(scale=0.25, size=values.shape)).round(4)

    def with_controls(treated: list[object], control: object) -> np.ndarray:
        return np.array([*treated, *[control] * n_controls], dtype=object)

    obs = pd.DataFrame(
        {
            "drug": with_controls([DRUGS[number][0] for number in drug], "DMSO"),
            "smiles": with_controls([DRUGS[number][1] for number in drug], ""),
            "dose": with_controls([_DOSES[number] for number in dose], 0.0).astype(float),
            "time": with_controls([_TIMES[number] for number in time], 24.0).astype(float),
            "plate": np.array([f"plate-{number + 1}" for number in plate], dtype=object),
            "cell_line": np.array([f"TOYP{number + 1}" for number in plate], dtype=object),
            "control": with_controls([False] * n_profiles, True).astype(bool),
        },
        index=[f"profile-{number:04d}" for number in range(1, len(plate) + 1)],
    )
    var = pd.DataFrame({"pathway": genes.to_numpy(dtype=object)}, index=genes.index)
    adata = AnnData(values.astype(np.float32), obs=obs, var=var)
    pair_controls(adata)
    adata.uns["perturbation"] = {"dose_unit": "µM", "time_unit": "h"}
    adata.uns[KEYS.EXPRESSION] = {"scale": "log"}
    adata.uns[KEYS.DATASET] = _card("toy_perturbations", seed)
    return adata
