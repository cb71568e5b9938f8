"""Synthetic reference and cells with a planted truth, for tests, docstrings and first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import slug
from ._toy_content import BACKGROUND, DRUGS, EFFECTS, PATHWAYS, POTENCY

if TYPE_CHECKING:
    from anndata import AnnData

_TISSUES = ("breast", "colon", "lung", "skin")
#: Pathway activities of the groups of cells, in the order of PATHWAYS; a normal cell is near the average line.
_GROUPS = {
    "normal": (-0.6, 0.0, -0.4, 0.2, -0.5, 0.3, 0.5, 0.0),
    "clone-a": (1.4, -1.0, 0.2, 0.0, 1.6, -0.3, -0.8, 0.4),
    "clone-b": (0.3, 1.7, 1.2, -0.6, -0.7, 0.5, 0.2, -1.2),
    "clone-c": (-0.8, -0.5, -1.3, 1.8, 0.4, 1.3, -0.2, 1.0),
}
_SAMPLES = ("patient-1", "patient-2", "patient-3")
_MISSING = 0.15
_RESPONSE_NOISE = 0.4
_COUNTS_PER_CELL = 3000


@checked
def toy(*, n_lines: int = 120, n_drugs: int = 12, n_genes: int = 300, seed: int = 0) -> AnnData:
    """Make a synthetic bulk reference whose drugs are driven by known pathways.

    Each line has activities of eight pathways, standard normal with a shift by tissue. A gene follows the one pathway
    it belongs to; the ln IC50 of a drug is its potency, plus the effects of one or two pathways, plus a general
    sensitivity of the line, plus noise. About 15 % of the pairs are missing. The same arguments give the same bytes.

    Parameters
    ----------
    n_lines
        Number of cell lines, at least 2.
    n_drugs
        Number of drugs, 1-20; the first drugs are the same whatever the number.
    n_genes
        Number of genes, at least 200: 25 of each pathway, the others of none. Symbols are real for the first 320.
    seed
        Seed of everything random. Genes and drugs depend on it alone, so that cells of
        :func:`~scdrug.datasets.toy_cells` with the same seed obey the same truth.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference`, lines × genes, in ln(µM) and log2 expression, and the truth:

    ``uns['truth']``
        DataFrame drug ids × pathways: change of ln IC50 for one unit of activity. Negative: activity sensitises.
    ``obsm['true_pathway_activity']``
        DataFrame lines × pathways.
    ``var['pathway']``
        Pathway of each gene, or empty.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> reference.shape, reference.obsm["response"].shape
    ((120, 300), (120, 12))
    >>> float(reference.uns["truth"].loc["trametinib", "KRAS_SIGNALING_UP"])
    -1.1
    """
    from ..pp._reference import build_reference

    _check_numbers(n_lines=(n_lines, 2, None), n_drugs=(n_drugs, 1, len(DRUGS)), n_genes=(n_genes, 200, None))
    names = [f"TOY{number:04d}" for number in range(1, n_lines + 1)]
    genes, baseline, loading = _genes(n_genes, seed)
    rng = _generator(seed, "lines")
    tissue = np.arange(n_lines) % len(_TISSUES)
    shift = rng.normal(scale=0.5, size=(len(_TISSUES), len(PATHWAYS)))
    activity = rng.normal(size=(n_lines, len(PATHWAYS))) + shift[tissue]
    expression = _expression(activity, genes, baseline, loading) + rng.normal(scale=0.35, size=(n_lines, n_genes))

    # All drugs are drawn, so that the first ones do not depend on how many are asked for.
    rng = _generator(seed, "response")
    response = _true_response(activity, len(DRUGS)) + rng.normal(scale=0.5, size=(n_lines, 1))
    response += rng.normal(scale=_RESPONSE_NOISE, size=response.shape)
    response[rng.random(response.shape) < _MISSING] = np.nan
    wide = pd.DataFrame(response[:, :n_drugs].round(4), index=names, columns=[drug[0] for drug in DRUGS[:n_drugs]])

    adata = build_reference(
        pd.DataFrame(expression.round(4).clip(min=0), index=names, columns=genes.index),
        wide,
        drugs=pd.DataFrame(DRUGS[:n_drugs], columns=["name", "smiles", "pubchem_cid", "targets", "pathway"]),
        lines=pd.DataFrame({"tissue": [_TISSUES[number] for number in tissue]}, index=names),
        keep_unmeasured=True,
    )
    adata.var["pathway"] = genes.to_numpy(dtype=object)
    adata.obsm["true_pathway_activity"] = pd.DataFrame(activity.round(4), index=names, columns=list(PATHWAYS))
    adata.uns["truth"] = _truth(n_drugs)
    adata.uns[KEYS.DATASET] = _card("toy", seed)
    return adata


@checked
def toy_cells(*, n_cells: int = 200, n_drugs: int = 12, n_genes: int = 300, seed: int = 0) -> AnnData:
    """Make synthetic single cells that obey the truth of :func:`~scdrug.datasets.toy`.

    Three clones, which differ in their pathways, and normal cells, in equal numbers in each of three patients. Each gene
    is measured with a constant factor of its own, as platforms do, so that cells and lines can only be compared after
    :func:`scdrug.pp.harmonize`.

    Parameters
    ----------
    n_cells
        Number of cells, at least 12.
    n_drugs
        Number of drugs of the truth, 1-20.
    n_genes
        Number of genes, at least 200.
    seed
        Seed of everything random, as in :func:`~scdrug.datasets.toy`.

    Returns
    -------
    Cells × genes:

    ``X``
        Counts, CSR, float32, about 3,000 for each cell.
    ``obs``
        ``clone`` (``"normal"``, ``"clone-a"``, ``"clone-b"``, ``"clone-c"``), ``sample``, ``malignant`` (bool).
    ``obsm['true_response']``
        DataFrame cells × drug ids: ln IC50 in ln(µM) without noise. Lower means more sensitive.
    ``obsm['true_pathway_activity']``
        DataFrame cells × pathways.
    ``uns['expression']``, ``uns['truth']``, ``uns['dataset']``
        Scale (``"counts"``), effects as in :func:`~scdrug.datasets.toy`, and the card of the data set.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.toy_cells()
    >>> cells.obs["clone"].value_counts().to_dict()
    {'clone-a': 50, 'clone-b': 50, 'clone-c': 50, 'normal': 50}
    """
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    _check_numbers(n_cells=(n_cells, 12, None), n_drugs=(n_drugs, 1, len(DRUGS)), n_genes=(n_genes, 200, None))
    genes, baseline, loading = _genes(n_genes, seed)
    platform = _generator(seed, "platform").normal(scale=0.8, size=n_genes)
    rng = _generator(seed, "cells")
    group, sample = np.arange(n_cells) % len(_GROUPS), np.arange(n_cells) // len(_GROUPS) % len(_SAMPLES)
    of_sample = rng.normal(scale=0.15, size=(len(_SAMPLES), len(PATHWAYS)))
    activity = np.array(list(_GROUPS.values()))[group] + of_sample[sample]
    activity = (activity + rng.normal(scale=0.3, size=activity.shape)).round(4)

    share = np.exp2(_expression(activity, genes, baseline, loading) + platform)
    depth = _COUNTS_PER_CELL * rng.lognormal(sigma=0.25, size=n_cells)
    counts = rng.poisson((share / share.sum(axis=1, keepdims=True) * depth[:, None]).round(6))

    names = [f"cell-{number:05d}" for number in range(1, n_cells + 1)]
    clone = np.array(list(_GROUPS), dtype=object)[group]
    obs = pd.DataFrame(
        {
            "clone": pd.Categorical(clone, categories=sorted(_GROUPS)),
            "sample": pd.Categorical(np.array(_SAMPLES, dtype=object)[sample], categories=list(_SAMPLES)),
            "malignant": clone != "normal",
        },
        index=names,
    )
    var = pd.DataFrame({"pathway": genes.to_numpy(dtype=object)}, index=genes.index)
    adata = AnnData(X=csr_matrix(counts.astype(np.float32)), obs=obs, var=var)
    truth = _truth(n_drugs)
    response = pd.DataFrame(
        _true_response(activity, n_drugs).round(4), index=names, columns=[slug(drug[0]) for drug in DRUGS[:n_drugs]]
    )
    adata.obsm["true_response"] = response[list(truth.index)]
    adata.obsm["true_pathway_activity"] = pd.DataFrame(activity, index=names, columns=list(PATHWAYS))
    adata.uns["truth"] = truth
    adata.uns[KEYS.EXPRESSION] = {"scale": "counts"}
    adata.uns[KEYS.DATASET] = _card("toy_cells", seed)
    return adata


def _check_numbers(**numbers: tuple[int, int, int | None]) -> None:
    for name, (value, low, high) in numbers.items():
        if value < low or (high is not None and value > high):
            allowed = f"between {low} and {high}" if high is not None else f"at least {low}"
            raise ValueError(f"`{name}` must be {allowed}; found {value}.")


def _generator(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose, so that one does not shift the others."""
    return np.random.default_rng([seed, *purpose.encode()])


def _genes(n_genes: int, seed: int) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Return the pathway of each gene by symbol, mean log2 expression, and loading on the pathway."""
    symbols = [gene for genes in PATHWAYS.values() for gene in genes.split()]
    pathways = [pathway for pathway, genes in PATHWAYS.items() for _ in genes.split()]
    others = BACKGROUND.split()
    others += [f"TOYGENE{number}" for number in range(1, n_genes - len(symbols) - len(others) + 1)]
    genes = pd.Series(pathways + [""] * len(others), index=symbols + others, dtype=object)[:n_genes]
    rng = _generator(seed, "genes")
    draws = rng.random((n_genes, 2))
    loading = np.where(genes.to_numpy() == "", 0.0, 0.5 + 0.8 * draws[:, 1])
    return genes, 4.0 + 5.0 * draws[:, 0], loading


def _expression(activity: np.ndarray, genes: pd.Series, baseline: np.ndarray, loading: np.ndarray) -> np.ndarray:
    """Mean log2 expression, (observations, genes). Elementwise, so that no BLAS decides about the last bit."""
    column = {pathway: position for position, pathway in enumerate(PATHWAYS)}
    of_gene = np.array([column.get(pathway, 0) for pathway in genes])  # the loading of other genes is 0
    return baseline + loading * activity[:, of_gene]


def _true_response(activity: np.ndarray, n_drugs: int) -> np.ndarray:
    """Mean ln IC50, (observations, drugs) in the order of DRUGS."""
    column = {pathway: position for position, pathway in enumerate(PATHWAYS)}
    response = np.empty((len(activity), n_drugs))
    for number, (name, *_) in enumerate(DRUGS[:n_drugs]):
        response[:, number] = POTENCY[name]
        for pathway, effect in EFFECTS[name].items():
            response[:, number] += effect * activity[:, column[pathway]]
    return response


def _truth(n_drugs: int) -> pd.DataFrame:
    names = [drug[0] for drug in DRUGS[:n_drugs]]
    truth = pd.DataFrame(0.0, index=[slug(name) for name in names], columns=list(PATHWAYS))
    for name in names:
        for pathway, effect in EFFECTS[name].items():
            truth.loc[slug(name), pathway] = effect
    return truth.sort_index()


def _card(name: str, seed: int) -> dict[str, object]:
    return {
        "name": name,
        "description": f"Synthetic, seed {seed}; not biology",
        "licence": "BSD-3-Clause",
        "citation": "",
        "file": [""],
        "url": [""],
        "sha256": [""],
    }
