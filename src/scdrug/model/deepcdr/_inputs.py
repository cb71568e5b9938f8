"""What DeepCDR reads of samples: expression or an embedding, and further measurements of lines."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..._store import Place, reserve, store
from ..._validate import check_key, examples

if TYPE_CHECKING:
    from anndata import AnnData

    from ...pp._profile import ReferenceProfile

#: Factor scores of the profile that are read.
_N_SCORES = 100
#: Inputs that are computed from expression, so that samples need nothing else.
FROM_EXPRESSION = ("expression", "scores")
#: Where :meth:`DeepCDR.setup_mudata` says which keys of `obsm` hold modalities.
MODALITIES = "deepcdr_modalities"

#: Where measurements beside expression come from.
_OMICS_HINT = (
    "scdrug.datasets.deepcdr(omics=['methylation', 'copy_number']) reads those of the published lines into `obsm`, as 'X_methylation' and "
    "'X_copy_number'."
)


def block(adata: AnnData, key: str, *, what: str, width: int | None = None) -> np.ndarray:
    """One array of `obsm` as float32 (samples × features).

    Parameters
    ----------
    adata
        Samples.
    key
        Key of `obsm`.
    what
        What it is, for messages.
    width
        Number of features that a trained model expects.

    Raises
    ------
    KeyError
        If it is not there.
    ValueError
        If it is no matrix of numbers, or of another width.
    """
    hint = "scdrug.pp.embed_cells computes embeddings; use the same one, with the same settings, for lines and cells."
    check_key(dict(adata.obsm), key, where="adata.obsm", hint=hint if what == "embedding" else _OMICS_HINT)
    value = adata.obsm[key]
    value = value.to_numpy() if isinstance(value, pd.DataFrame) else value
    try:
        array = np.asarray(value.toarray() if sp.issparse(value) else value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`adata.obsm[{key!r}]` must hold numbers; found {type(value).__name__}.") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"`adata.obsm[{key!r}]` must be a matrix of samples × features; found shape {array.shape}.")
    if width is not None and array.shape[1] != width:
        raise ValueError(
            f"`adata.obsm[{key!r}]` has {array.shape[1]} features, but the model was trained on {width}. Embed the samples "
            "with the same method and settings as the training lines."
        )
    return array


def read_inputs(
    adata: AnnData, cell_input: str, modalities: Sequence[str], *, widths: dict[str, int] | None = None
) -> np.ndarray | None:
    """All that a model reads of samples beside expression, side by side.

    Parameters
    ----------
    adata
        Samples.
    cell_input
        ``"expression"``, ``"scores"``, or a key of `obsm`.
    modalities
        Keys of `obsm` with further measurements; a row with NaN has none.
    widths
        Number of features by key that a trained model expects. A modality that is absent is then masked, with a warning.

    Returns
    -------
    Samples × features; `None` if expression is all there is.

    Raises
    ------
    KeyError, ValueError
        If an array is absent, of another width, or an embedding has missing values.
    """
    parts = []
    if cell_input not in FROM_EXPRESSION:
        array = block(adata, cell_input, what="embedding", width=None if widths is None else widths[cell_input])
        bad = ~np.isfinite(array).all(axis=1)
        if bad.any():
            raise ValueError(
                f"`adata.obsm[{cell_input!r}]` holds NaN or infinite values for {int(bad.sum())} samples: "
                f"{examples(adata.obs_names[bad])}. Remove empty cells, and embed again."
            )
        parts.append(array)
    for key in modalities:
        if widths is not None and key not in adata.obsm:
            warnings.warn(
                f"`adata.obsm` lacks {key!r}, which the model was trained with; all {adata.n_obs} samples are predicted "
                "without it.",
                stacklevel=3,
            )
            parts.append(np.full((adata.n_obs, widths[key]), np.nan, dtype=np.float32))
            continue
        array = block(adata, key, what="modality", width=None if widths is None else widths[key])
        array = np.where(np.isfinite(array).all(axis=1, keepdims=True), array, np.float32(np.nan))
        parts.append(array)
    return np.hstack(parts) if parts else None


def cell_features(
    expression: np.ndarray, inputs: np.ndarray | None, cell_input: str, profile: ReferenceProfile | None
) -> np.ndarray:
    """All features of samples, those of the cell first (samples × features, float32).

    Parameters
    ----------
    expression
        Samples × genes, on the reference's scale.
    inputs
        What :func:`read_inputs` returned for them.
    cell_input
        ``"expression"``, ``"scores"``, or a key of `obsm`, which `inputs` then begin with.
    profile
        What gives factor scores.
    """
    parts = [] if inputs is None else [inputs]
    if cell_input == "scores":
        assert profile is not None
        parts.insert(0, profile.scores(np.asarray(expression, dtype=np.float32))[:, :_N_SCORES])
    elif cell_input == "expression":
        parts.insert(0, expression)
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)


def expression_of(adata: Any) -> Any:
    """The modality of a MuData that :meth:`DeepCDR.setup_mudata` registered; anything else as it is.

    Raises
    ------
    ValueError
        If the MuData was not set up.
    """
    if adata is None or not hasattr(adata, "mod"):
        return adata
    for part in adata.mod.values():
        if MODALITIES in part.uns:
            return part
    raise ValueError("This MuData was not set up. Call `DeepCDR.setup_mudata(mdata)` first.")


def describe_labels(adata: AnnData, response_key: str) -> dict[str, str]:
    """What probabilities that are learned from labels measure.

    Raises
    ------
    ValueError
        If responses are no labels 1 and 0.
    """
    values = adata.obsm[response_key].to_numpy(dtype=float)
    found = np.unique(values[np.isfinite(values)])
    if not np.isin(found, (0.0, 1.0)).all():
        raise ValueError(
            f"Classification needs labels 1 (sensitive), 0 and NaN in `adata.obsm[{response_key!r}]`; found values such as "
            f"{', '.join(f'{value:g}' for value in found[:3])}. scdrug.pp.binarize_response makes labels."
        )
    return {"measure": "probability of sensitivity", "unit": "", "direction": "higher is more sensitive"}


def join_modalities(
    mdata: Any, rna: str, modalities: Sequence[str] | None, *, copy: bool = False
) -> tuple[AnnData, list[str]]:
    """Put modalities into the `obsm` of the one that holds expression, by name of the sample.

    Parameters
    ----------
    mdata
        MuData.
    rna
        Modality with expression.
    modalities
        Modalities to read; all others if omitted.
    copy
        Leave the MuData as it is.

    Returns
    -------
    The AnnData of expression, and the keys of `obsm`. A warning counts samples that lack a modality; they are masked.

    Raises
    ------
    KeyError
        If a modality is not there.
    ValueError
        If none of its samples has expression, or the `obsm` of expression holds something else under its key.
    """
    check_key(mdata.mod, rna, where="mdata.mod", hint="Name the modality with expression and responses with `rna`.")
    names = [name for name in mdata.mod if name != rna] if modalities is None else list(modalities)
    adata, keys = mdata.mod[rna].copy() if copy else mdata.mod[rna], []
    joined: dict[Place, Any] = {}
    for name in names:
        check_key(mdata.mod, name, where="mdata.mod", hint=_OMICS_HINT)
        other, key = mdata.mod[name], f"X_{name}"
        if not copy:
            reserve(
                adata,
                [("obsm", key)],
                report=MODALITIES,
                recognise=lambda held, key=key: key in [str(one) for one in np.atleast_1d(held)],
                former=lambda _, key=key: [("obsm", key)],
                function="scdrug.model.DeepCDR",
                argument=None,
            )
        matrix = other.X.toarray() if sp.issparse(other.X) else np.asarray(other.X)
        rows = pd.Index(other.obs_names.astype(str)).get_indexer(adata.obs_names.astype(str))
        found = rows >= 0
        if not found.any():
            raise ValueError(
                f"No sample of modality {name!r} is in {rna!r}: names are like {examples(other.obs_names, 2)} there and "
                f"{examples(adata.obs_names, 2)} here."
            )
        values = np.full((adata.n_obs, other.n_vars), np.nan, dtype=np.float32)
        values[found] = matrix[rows[found]]
        complete = np.isfinite(values).all(axis=1)
        if not complete.all():
            warnings.warn(
                f"Modality {name!r} covers {int(complete.sum())} of {adata.n_obs} samples of {rna!r}; the other "
                f"{int((~complete).sum())} are masked, such as {examples(adata.obs_names[~complete], 3)}.",
                stacklevel=4,
            )
        keys.append(key)
        joined["obsm", key] = values
    return store(adata, joined if copy else {**joined, ("uns", MODALITIES): keys}), keys
