"""Does the perturbation that a core predicts tell sensitive from resistant, without ever having seen a response?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from .._arguments import checked
from .._store import holds, reserve, store
from .._validate import check_key, plain
from ._perturbed import perturbing_model, reference_rows, structures_of

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A


@checked
def perturbation_distance(
    adata: AnnData,
    model: str | os.PathLike[str] | CSG2A,
    *,
    response_key: str = "response",
    fraction: float = 0.3,
    lower_is_sensitive: bool = True,
    dose: float | None = None,
    time: float | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "none",
    min_coverage: float = 0.3,
    key_added: str = "perturbation_distance",
    copy: bool = False,
) -> AnnData | None:
    """Compare how far drugs are predicted to move sensitive and resistant lines, with controls for drug and line.

    The core knows no response, so this is a zero-shot test of it. A potent drug moves every line and kills most, so that
    distance tells sensitive from resistant pairs by the drug alone; only what is left after the means of drugs and lines
    are taken out speaks for the pair.

    Parameters
    ----------
    adata
        Lines × genes with measured responses.
    model
        A :class:`scdrug.model.CSG2A` whose core was pretrained.
    response_key
        Key of `obsm`: DataFrame of lines × drug ids that the model knows.
    fraction
        Share of all measured pairs that counts as sensitive, and as resistant: the lowest and the highest responses.
    lower_is_sensitive
        Direction of the response.
    dose, time
        µM and hours; those of the model's responses if omitted.
    layer, scale, method, min_coverage
        How lines are brought onto the reference's scale, see :func:`scdrug.tl.predict_response`; by default they are on it.
    key_added
        Key of the results.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["perturbation_distance" | key_added]`` : DataFrame
        Lines × drugs, Euclidean distance between perturbed and basal expression.
    ``adata.uns["perturbation_distance" | key_added]`` : dict
        ``table``: a row for the distance itself (``"raw"``) and for what is left of it after ``"drug mean"``, ``"line mean"`` and
        ``"both"``, with `auroc` (0.5 = says nothing, above = sensitive pairs are moved farther), `difference` in standard
        deviations, `p_value` (Mann-Whitney, two-sided), `n_sensitive` and `n_resistant`; and a row ``"drug mean alone"``, what
        one knows from the drug without its distance; ``params``.

    Raises
    ------
    KeyError
        If there are no responses, or a drug is not known.
    RuntimeError
        If the core was not pretrained.
    ValueError
        If a parameter is out of range or a group is empty.

    Notes
    -----
    Bang et al. 2024, section 4.2. Pairs of one drug or line are not independent, so p values are too small.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.settings.progress = False
    >>> reference, treated = scdrug.datasets.toy(), scdrug.datasets.toy_perturbations()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
    >>> summary = model.pretrain(treated, max_epochs=2)
    >>> model.train(max_epochs=1)
    >>> scdrug.tl.perturbation_distance(reference, model)
    >>> reference.uns["perturbation_distance"]["table"].index.tolist()
    ['raw', 'drug mean', 'line mean', 'both', 'drug mean alone']
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"`fraction` must be above 0 and at most 0.5; found {fraction}.")
    reserve(
        adata,
        [("obsm", key_added), ("uns", key_added)],
        report=key_added,
        recognise=holds("table", "params"),
        function="scdrug.tl.perturbation_distance",
    )
    check_key(dict(adata.obsm), response_key, where="adata.obsm")
    trained = perturbing_model(model, pretrained=True)
    response = adata.obsm[response_key]
    table = structures_of(trained, None)
    ids = [str(drug) for drug in response.columns if drug in table.index]
    if not ids:
        raise KeyError(f"No drug of `adata.obsm[{response_key!r}]` has a structure in the model.")
    conditions = trained.conditions(list(table.loc[ids, "smiles"]), dose=dose, time=time)
    distance = np.empty((adata.n_obs, len(ids)))
    blocks = reference_rows(
        adata, trained, layer=layer, scale=scale, method=method, anchor="similar", min_coverage=min_coverage
    )
    for rows, values in blocks:
        for drug, condition in enumerate(conditions):
            basal, perturbed = trained.perturb(values, condition)
            distance[rows, drug] = np.linalg.norm(perturbed - basal, axis=1)
    sign = 1.0 if lower_is_sensitive else -1.0
    result = compare_distances(distance, sign * response[ids].to_numpy(dtype=float), fraction=fraction)
    values = {
        ("obsm", key_added): pd.DataFrame(distance.astype(np.float32), index=adata.obs_names, columns=pd.Index(ids)),
        ("uns", key_added): {"table": result, "params": plain({"fraction": fraction, "response_key": response_key})},
    }
    adata = store(adata, values, report=key_added, copy=copy)
    return adata if copy else None


def compare_distances(distance: np.ndarray, response: np.ndarray, *, fraction: float = 0.3) -> pd.DataFrame:
    """Separate sensitive from resistant pairs by distance, before and after the means of drugs and lines are taken out.

    Parameters
    ----------
    distance
        Lines × drugs.
    response
        Lines × drugs, lower = more sensitive, NaN where not measured.
    fraction
        Share of the measured pairs in each group.

    Returns
    -------
    See :func:`perturbation_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.tl._distance import compare_distances
    >>> potency = np.arange(6.0)
    >>> response = np.tile(potency, (5, 1)) + 0.01 * np.arange(5)[:, None]
    >>> table = compare_distances(-np.tile(potency, (5, 1)) * 3, response)
    >>> float(table.loc["raw", "auroc"]), float(table.loc["drug mean", "auroc"])
    (1.0, 0.5)
    """
    measured = np.isfinite(response)
    known = np.where(measured, distance, np.nan)
    with np.errstate(invalid="ignore"):
        drug, line = _mean(known, 0), _mean(known, 1)
        residual = known - drug
        variants = {
            "raw": known,
            "drug mean": residual,
            "line mean": known - line,
            "both": residual - _mean(residual, 1),
            "drug mean alone": np.where(measured, -_mean(np.where(measured, response, np.nan), 0), np.nan),
        }
    values = response[measured]
    low, high = np.quantile(values, [fraction, 1 - fraction])
    sensitive, resistant = measured & (response <= low), measured & (response >= high)
    rows = {}
    for name, variant in variants.items():
        a, b = variant[sensitive], variant[resistant]
        spread = float(np.nanstd(variant[measured]))
        # rounding is no difference
        a, b = (np.round(x / spread, 9) if spread > 1e-9 * (1 + np.nanmax(np.abs(known))) else 0 * x for x in (a, b))
        test = stats.mannwhitneyu(a, b)
        rows[name] = (
            float(test.statistic / (len(a) * len(b))),
            float(a.mean() - b.mean()),
            float(test.pvalue),
            len(a),
            len(b),
        )
    columns = ["auroc", "difference", "p_value", "n_sensitive", "n_resistant"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    counts = np.isfinite(values).sum(axis=axis, keepdims=True)
    return np.where(counts > 0, np.nansum(values, axis=axis, keepdims=True) / np.maximum(counts, 1), np.nan)
