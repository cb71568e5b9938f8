"""Do drugs of one mechanism get similar attention, and more so than their structures are similar?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._former import formerly
from .._store import holds, reserve, store
from .._validate import check_key, plain
from ..pp._molecules import canonical_smiles, morgan_fingerprints, tanimoto_kernel
from ._perturbed import perturbing_model, reference_rows, structures_of

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A


@checked
@formerly(prior="ppi")
def mechanism_similarity(
    adata: AnnData,
    model: str | os.PathLike[str] | CSG2A,
    classes: Mapping[str, str] | str = "pathway",
    *,
    ppi: bool = False,
    n_samples: int = 200,
    n_permutations: int = 1000,
    min_drugs: int = 2,
    dose: float | None = None,
    time: float | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "none",
    min_coverage: float = 0.3,
    seed: int = 0,
    key_added: str = "mechanism_similarity",
    copy: bool = False,
) -> AnnData | None:
    """Compare the attention of drugs with the same and with different mechanisms.

    The attention of each drug is averaged over samples and correlated with that of each other drug, without the diagonal. Classes
    of drugs are permuted to see how large a difference between pairs of one class and of different classes chance makes. Next
    to it stands the same test on Morgan fingerprints: drugs of one class look alike, so attention adds something only where
    its difference is beyond that.

    Parameters
    ----------
    adata
        Lines, pseudobulks or cells × genes.
    model
        A trained :class:`scdrug.model.CSG2A`.
    classes
        Class by name or id of a drug; or a column of the model's table of drugs.
    ppi
        Whether the prior network between genes, which all drugs share, is a part of the attention.
    n_samples
        Samples to average over, drawn at random if there are more.
    n_permutations
        Permutations of the classes.
    min_drugs
        Least number of drugs in a class.
    dose, time
        µM and hours; those of the model's responses if omitted.
    layer, scale, method, min_coverage
        How samples are brought onto the reference's scale, see :func:`scdrug.tl.predict_response`; by default they are on it.
    seed
        Seed of the samples and permutations.
    key_added
        Key of the results.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with ``adata.uns["mechanism_similarity" | key_added]``: ``similarity`` (drugs × drugs, Pearson),
    ``fingerprints`` (Tanimoto), ``drugs`` (name and class), and ``table`` with rows ``"attention"``, ``"fingerprints"`` and
    ``"attention beyond fingerprints"`` (after regression on Tanimoto similarity): `same`, `different` (mean similarity),
    `difference`, `p_value` (one-sided, permutation).

    Raises
    ------
    KeyError
        If a drug or column is not known.
    ValueError
        If there are fewer than two classes with enough drugs.

    Notes
    -----
    Bang et al. 2024, section 4.3.3.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.settings.progress = False
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
    >>> model.train(max_epochs=1)
    >>> classes = {name: "a" if number % 2 else "b" for number, name in enumerate(model.drugs.index)}
    >>> scdrug.tl.mechanism_similarity(reference, model, classes, n_permutations=20)
    >>> reference.uns["mechanism_similarity"]["table"].index.tolist()
    ['attention', 'fingerprints', 'attention beyond fingerprints']
    """
    reserve(
        adata,
        [("uns", key_added)],
        report=key_added,
        recognise=holds("similarity", "fingerprints", "table"),
        function="scdrug.tl.mechanism_similarity",
    )
    trained = perturbing_model(model, pretrained=False)
    table = _classes(trained, classes, min_drugs)
    conditions = trained.conditions(list(table["smiles"]), dose=dose, time=time)
    rng = np.random.default_rng([seed, 5])
    rows = np.sort(rng.permutation(adata.n_obs)[:n_samples])
    blocks = reference_rows(
        adata, trained, layer=layer, scale=scale, method=method, anchor="similar", min_coverage=min_coverage
    )
    values = np.vstack([block[np.isin(np.arange(where.start, where.stop), rows)] for where, block in blocks])
    low, high = np.triu_indices(conditions.shape[1], 1)
    flat = np.empty((len(table), len(low)), dtype=np.float32)
    for drug, condition in enumerate(conditions):
        flat[drug] = trained.attention(values, condition, ppi=ppi)[low, high]
    similarity = np.corrcoef(flat)
    fingerprints = tanimoto_kernel(morgan_fingerprints([canonical_smiles(text) for text in table["smiles"]]))
    result = class_tests(similarity, fingerprints, table["class"].to_numpy(), n_permutations=n_permutations, rng=rng)

    names = pd.Index([str(drug) for drug in table.index])
    report = {
        "similarity": pd.DataFrame(similarity, index=names, columns=names),
        "fingerprints": pd.DataFrame(fingerprints, index=names, columns=names),
        "drugs": table[["name", "class"]].set_axis(names),
        "table": result,
        "params": plain({"ppi": ppi, "n_samples": len(values), "n_permutations": n_permutations, "seed": seed}),
    }
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def _classes(model: CSG2A, classes: Mapping[str, str] | str, min_drugs: int) -> pd.DataFrame:
    """Drugs with a structure and a class that others share."""
    if isinstance(classes, str):
        table = structures_of(model, None)
        check_key(table, classes, where="model.drugs")
        labels = table[classes].astype(str)
    else:
        table = structures_of(model, list(classes))
        _, ids, _ = model.select_drugs(list(classes))
        labels = pd.Series([str(label) for label in classes.values()], index=ids).reindex(table.index)
    table = table.assign(**{"class": labels.to_numpy(dtype=object)})
    table = table[table["class"] != ""]
    counts = table["class"].map(table["class"].value_counts())
    table = table[counts >= min_drugs]
    if table["class"].nunique() < 2:
        raise ValueError(
            f"At least two classes with {min_drugs} drugs each are needed; found {table['class'].nunique()}. Name classes "
            "of more drugs."
        )
    return table


def class_tests(
    similarity: np.ndarray,
    fingerprints: np.ndarray,
    classes: np.ndarray,
    *,
    n_permutations: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Difference in similarity between pairs of one class and of different classes, with its chance level.

    Parameters
    ----------
    similarity, fingerprints
        Drugs × drugs.
    classes
        Class of each drug.
    n_permutations
        Permutations of the classes.
    rng
        Source of the permutations.

    Returns
    -------
    See :func:`mechanism_similarity`.
    """
    low, high = np.triu_indices(len(classes), 1)
    pairs = {"attention": similarity[low, high], "fingerprints": fingerprints[low, high]}
    x, y = pairs["fingerprints"], pairs["attention"]
    slope = float(np.cov(x, y)[0, 1] / max(float(np.var(x, ddof=1)), 1e-12))
    pairs["attention beyond fingerprints"] = y - y.mean() - slope * (x - x.mean())
    orders = [np.arange(len(classes)), *(rng.permutation(len(classes)) for _ in range(n_permutations))]
    rows = {}
    for name, values in pairs.items():
        means = []
        for order in orders:
            same = classes[order][low] == classes[order][high]
            means.append((values[same].mean(), values[~same].mean()))
        differences = np.array([a - b for a, b in means])
        p = (1 + int((differences[1:] >= differences[0]).sum())) / (1 + n_permutations)
        rows[name] = (float(means[0][0]), float(means[0][1]), float(differences[0]), p)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["same", "different", "difference", "p_value"])
