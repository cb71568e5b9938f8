"""Two drug screens of cell lines in one reference: what either measured, and what both did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples, unique_slugs
from ._drug_names import same_drugs
from ._measures import read_description

if TYPE_CHECKING:
    from anndata import AnnData

#: Lines that both screens must have measured before their agreement on a drug is stated.
_MIN_LINES = 10


@checked
def join_screens(main: AnnData, second: AnnData, *, names: tuple[str, str] = ("main", "second")) -> AnnData:
    """Join two screens, such as both releases of GDSC or an own screen and GDSC, into one reference.

    A drug that both screened keeps the responses of the first; those of the second stand beside them, and models that complete
    responses (:class:`scdrug.model.KernelRidge` with `denoise`) learn from both. A drug of one screen alone is added with its own.
    Screens differ in assay and doses, so responses are never averaged.

    Parameters
    ----------
    main, second
        References of :func:`build_reference` with the same measure, on the same scale of expression. Not altered.
    names
        What to call them.

    Returns
    -------
    The reference, lines of either × genes of both:

    ``obsm['response']``
        Lines × drugs of either, NaN where not measured.
    ``obsm['second_response']``
        Lines × drugs of both, under the same ids: what the second screen measured.
    ``uns['drugs']``
        Table of drugs, with ``screen``, whose responses a drug has, ``screen_r``, the correlation of both screens over lines
        (NaN for drugs of one, or with fewer than ten shared lines), and ``n_shared``, the number of these lines.

    Raises
    ------
    ValueError
        If measures, units, directions or scales differ, or no line or gene is shared.

    Notes
    -----
    Drugs are the same if their structures are, or else their names. Expression of a line that both have is that of `main`.

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.toy()
    >>> older = screen[:, :].copy()
    >>> older.obsm["response"] = older.obsm["response"].iloc[:, :5] + 0.1
    >>> both = scdrug.pp.join_screens(screen, older, names=("new", "old"))
    >>> both.obsm["second_response"].shape
    (120, 5)
    """
    import anndata as ad

    described = [_describe(part, f"`{role}`") for part, role in ((main, "main"), (second, "second"))]
    if described[0] != described[1]:
        raise ValueError(
            f"Both screens must have one measure, unit, direction and scale of expression; found {described[0]} and {described[1]}."
        )
    if names[0] == names[1]:
        raise ValueError(f"`names` must tell the screens apart; found {names!r}.")
    genes = main.var_names[main.var_names.isin(second.var_names)]
    shared_lines = main.obs_names[main.obs_names.isin(second.obs_names)]
    for role, part in (("main", main), ("second", second)):
        if not part.n_obs:
            raise ValueError(f"`{role}` has no lines.")
    if not len(genes) or not len(shared_lines):
        raise ValueError(
            f"The screens share {len(genes)} genes and {len(shared_lines)} lines. Names must be spelled alike in both, such as "
            f"{examples(main.obs_names[:2])} and {examples(second.obs_names[:2])}."
        )
    fresh = second.obs_names[~second.obs_names.isin(main.obs_names)]
    joined = ad.concat(
        [_bare(main[:, genes]), _bare(second[fresh, genes])], join="outer", uns_merge=None, index_unique=None
    )
    first, other = main.obsm[KEYS.RESPONSE], second.obsm[KEYS.RESPONSE]
    tables = [
        pd.DataFrame(part.uns.get(KEYS.DRUGS, {})).reindex(part.obsm[KEYS.RESPONSE].columns) for part in (main, second)
    ]
    twin: dict[str, str] = {}
    for drug, found in same_drugs(*tables).items():
        twin.setdefault(found[0], drug)  # a second preparation of a drug stays a drug of its own
    both = other.loc[:, other.columns.isin(twin)].rename(columns=twin)
    alone = other.loc[:, ~other.columns.isin(twin)]
    ids = unique_slugs([*first.columns, *alone.columns])[len(first.columns) :]
    alone = alone.set_axis(pd.Index(ids), axis=1)
    lines = joined.obs_names
    joined.obsm[KEYS.RESPONSE] = pd.concat([first.reindex(lines), alone.reindex(lines)], axis=1)
    joined.obsm[KEYS.SECOND] = both.reindex(lines)
    drugs = pd.concat([tables[0], tables[1].loc[~other.columns.isin(twin)].set_axis(pd.Index(ids))])
    for column in drugs.columns.difference(drugs.select_dtypes("number").columns):
        drugs[column] = drugs[column].astype(object).where(drugs[column].notna(), "")
    drugs["screen"] = np.repeat(np.array(names, dtype=object), [first.shape[1], alone.shape[1]])
    joined.uns[KEYS.DRUGS] = drugs.join(_agreement(first, both)).fillna({"n_shared": 0}).astype({"n_shared": int})
    for key in (KEYS.RESPONSE, KEYS.EXPRESSION, KEYS.DATASET):
        if key in main.uns:
            joined.uns[key] = dict(main.uns[key])
    joined.uns[KEYS.RESPONSE] = dict(joined.uns.get(KEYS.RESPONSE, {})) | {
        "n_pairs": int(joined.obsm[KEYS.RESPONSE].notna().to_numpy().sum()),
        "screens": ", ".join(names),
    }
    return joined


def _describe(reference: AnnData, where: str) -> dict[str, str]:
    check_key(dict(reference.obsm), KEYS.RESPONSE, where=f"{where}.obsm")
    described = read_description(reference.uns)
    scale = str(reference.uns.get(KEYS.EXPRESSION, {}).get("scale", "log"))
    return {name: described[name] for name in ("measure", "unit", "direction")} | {"scale": scale}


def _bare(reference: AnnData) -> AnnData:
    """Expression and what is known of lines, without anything else."""
    import anndata as ad

    return ad.AnnData(reference.X.copy(), obs=reference.obs.copy(), var=pd.DataFrame(index=reference.var_names))


def _agreement(first: pd.DataFrame, both: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for drug in both:
        pair = pd.concat([first[drug], both[drug]], axis=1, join="inner").dropna()
        n_lines = len(pair)
        told = n_lines >= _MIN_LINES and bool((pair.std() > 0).all())
        rows[drug] = (float(pair.iloc[:, 0].corr(pair.iloc[:, 1])) if told else np.nan, n_lines)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["screen_r", "n_shared"])
    return table.reindex(first.columns).astype({"screen_r": float}).fillna({"n_shared": 0}).astype({"n_shared": int})
