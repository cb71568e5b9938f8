"""Genes whose predicted expression under a drug differs between sensitive and resistant samples."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from .._arguments import checked
from .._constants import KEYS
from .._store import holds, reserve, store
from .._validate import check_choice, check_key, plain
from ._perturbed import perturbing_model, reference_rows, structure_of

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A


@checked
def perturbed_markers(
    adata: AnnData,
    model: str | os.PathLike[str] | CSG2A,
    drug: str | Mapping[str, str],
    *,
    split: str = "median",
    response_key: str = KEYS.PREDICTED,
    use: str = "perturbed",
    dose: float | None = None,
    time: float | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    min_coverage: float = 0.3,
    lower_is_sensitive: bool = True,
    key_added: str = "perturbed_markers",
    copy: bool = False,
) -> AnnData | None:
    """Find genes whose predicted expression under a drug differs between sensitive and resistant samples.

    Parameters
    ----------
    adata
        Lines, pseudobulks or cells × genes, with measured or predicted responses.
    model
        A :class:`scdrug.model.CSG2A` whose core was pretrained.
    drug
        Name or id of a drug.
    split
        ``"median"``: samples below and above the median response; ``"thirds"``: the lowest and the highest third.
    response_key
        Key of `obsm` with the responses, samples × drug ids.
    use
        ``"perturbed"``: expression under the drug; ``"shift"``: its difference to basal expression; ``"basal"``: the control,
        which tells how much of the result was there without the drug.
    dose, time
        µM and hours; those of the model's responses if omitted.
    layer, scale, method, anchor, min_coverage
        How samples are brought onto the reference's scale, see :func:`scdrug.tl.predict_response`.
    lower_is_sensitive
        Direction of the response.
    key_added
        Key of `uns`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with ``adata.uns["perturbed_markers" | key_added]``: ``table`` by gene with `difference` (sensitive
    − resistant, in robust standard deviations of the reference), `t`, `p_value` (Welch, two-sided) and `fdr` (Benjamini and
    Hochberg), smallest p first; ``drug``; ``params``.

    Raises
    ------
    KeyError
        If the drug or its responses are not there.
    RuntimeError
        If the core was not pretrained.
    ValueError
        If a group has fewer than three samples.

    Notes
    -----
    Bang et al. 2024, section 4.4. Where responses were predicted from the same expression, some genes must differ: p values rank
    genes, they prove nothing. Cells of one patient are no replicates either; use pseudobulks.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.settings.progress = False
    >>> reference, treated = scdrug.datasets.toy(), scdrug.datasets.toy_perturbations()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
    >>> summary = model.pretrain(treated, max_epochs=2)
    >>> model.train(max_epochs=1)
    >>> scdrug.tl.perturbed_markers(reference, model, "trametinib", response_key="response", method="none")
    >>> reference.uns["perturbed_markers"]["table"].shape
    (50, 4)
    """
    check_choice("split", split, ("median", "thirds"))
    check_choice("use", use, ("perturbed", "shift", "basal"))
    reserve(
        adata,
        [("uns", key_added)],
        report=key_added,
        recognise=holds("table", "drug", "params"),
        function="scdrug.tl.perturbed_markers",
    )
    trained = perturbing_model(model, pretrained=True)
    table = structure_of(trained, drug)
    check_key(dict(adata.obsm), response_key, where="adata.obsm", hint="Run scdrug.tl.predict_response(adata) first.")
    check_key(adata.obsm[response_key], str(table.index[0]), where=f"adata.obsm[{response_key!r}]")
    response = adata.obsm[response_key][table.index[0]].to_numpy(dtype=float)
    sensitive, resistant = _groups(response if lower_is_sensitive else -response, split)

    condition = trained.conditions(list(table["smiles"]), dose=dose, time=time)[0]
    values = np.empty((adata.n_obs, len(condition)), dtype=np.float32)
    blocks = reference_rows(
        adata, trained, layer=layer, scale=scale, method=method, anchor=anchor, min_coverage=min_coverage
    )
    for rows, block in blocks:
        basal, perturbed = trained.perturb(block, condition)
        values[rows] = {"perturbed": perturbed, "shift": perturbed - basal, "basal": basal}[use]
    result = compare_groups(values[sensitive], values[resistant], list(trained.module.panel))
    report = {
        "table": result,
        "drug": str(table.index[0]),
        "name": str(table["name"].iloc[0]),
        "params": plain({"use": use, "split": split, "n_sensitive": sensitive.sum(), "n_resistant": resistant.sum()}),
    }
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def _groups(response: np.ndarray, split: str) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.nanquantile(response, [0.5, 0.5] if split == "median" else [1 / 3, 2 / 3])
    sensitive, resistant = response <= low, response > high
    if min(sensitive.sum(), resistant.sum()) < 3:
        raise ValueError(
            f"Three samples in each group are needed; found {int(sensitive.sum())} sensitive and {int(resistant.sum())} "
            "resistant ones with a response to this drug."
        )
    return sensitive, resistant


def compare_groups(a: np.ndarray, b: np.ndarray, genes: list[str]) -> pd.DataFrame:
    """Welch test of each gene between two groups (samples × genes); see :func:`perturbed_markers`.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.tl._perturbed_markers import compare_groups
    >>> a, b = np.array([[1.0, 5.0], [1.1, 5.0], [0.9, 5.0]]), np.array([[3.0, 5.0], [3.1, 5.0], [2.9, 5.0]])
    >>> table = compare_groups(a, b, ["X", "flat"])
    >>> table.index[0], round(float(table.loc["X", "difference"]), 6), float(table.loc["flat", "p_value"])
    ('X', -2.0, 1.0)
    """
    with np.errstate(all="ignore"):
        test = stats.ttest_ind(a.astype(np.float64), b.astype(np.float64), equal_var=False)
    p = np.where(np.isfinite(test.pvalue), test.pvalue, 1.0)
    table = pd.DataFrame(
        {
            "difference": a.mean(axis=0) - b.mean(axis=0),
            "t": np.where(np.isfinite(test.statistic), test.statistic, 0.0),
            "p_value": p,
            "fdr": stats.false_discovery_control(p),
        },
        index=genes,
    )
    return table.sort_values("p_value", kind="stable")
