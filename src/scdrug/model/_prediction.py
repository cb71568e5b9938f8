"""How every model is asked: by gene name and row block; what it is asked for stands in `_unseen`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ..pp._checks import check_cells
from ..pp._place import place_cells
from ..pp._rows import sample_rows
from ._results import PredictedResponse, reserve_predictions, verdict_on_lines

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._genes import GeneMatch
    from ._base import DrugResponseModel


#: Root mean square distance of a cohort's mean from the reference's, in standard deviations of lines, that is still its scale.
_FARTHEST = 2.0
#: Samples below which that distance may be their own, and the distance of quantile functions that they must exceed as well.
_FEW = 10
_FARTHEST_FEW = 0.5


@checked
def predict(
    self: DrugResponseModel,
    adata: AnnData | None = None,
    *,
    drugs: str | Sequence[str] | Mapping[str, Any] | None = None,
    layer: str | None = None,
    batch_size: int | None = None,
    min_coverage: float = 0.3,
    part: str | None = None,
    key_added: str | None = KEYS.PREDICTED,
) -> pd.DataFrame:
    """Predict responses of samples that are on the reference's expression scale.

    Cells must be harmonized first: :func:`scdrug.tl.predict_response` does both in one pass, and stores the same.

    Parameters
    ----------
    adata
        Samples × genes; genes are matched by name. The training reference if omitted.
    drugs
        Names or ids of drugs; all if omitted. Models whose card says `unseen_drugs` also take SMILES, or a mapping of
        names to SMILES, which are then predicted from structure.
    layer
        Layer to read; `X` if omitted.
    batch_size
        Rows a block; results do not depend on it.
    min_coverage
        Least share of the model's genes that must be measured; the others get their expected value.
    part
        ``"network"`` or ``"prior"`` alone, of models that have both; the model's blend of them if omitted.
    key_added
        Key of the predictions; ``None`` stores nothing. With another than the default, the other results are stored
        under ``f"{key_added}_percentile"`` and ``f"{key_added}_reliability"``.

    Returns
    -------
    Samples × drug ids, in the unit of the reference's response. Unless `key_added` is `None`, they are also stored in
    `adata`, with all that :func:`scdrug.tl.predict_response` stores: percentiles, reliability and provenance.

    Raises
    ------
    RuntimeError
        If the model was not trained.
    ValueError
        If too few genes are measured, values are not finite or not on the reference's scale (counts, logarithms of single
        cells, values centred by gene), or `key_added` is taken by something that scdrug did not store or cannot be
        written to a file.
    KeyError
        If a drug is not known; the nearest names are offered.

    Warns
    -----
    UserWarning
        If no drug can be ranked for these samples.

    Notes
    -----
    Reliability is gene coverage × typicality. Samples that are on the reference's scale resemble it as its own lines do,
    so that similarity, the third factor for cells, is left out.

    Samples are taken to be on the scale if the mean of each gene over them lies, in the root mean square over genes, within
    two standard deviations of the reference's lines. Single lines lie within 1.6, harmonized cohorts of cells within 0.8,
    logarithms and z-scores of single cells beyond 2.3. Fewer than ten samples are refused only if their values are
    distributed otherwise, too.
    """
    self._check_if_trained(warn=False)
    own = adata is None
    if adata is None:
        self._training_arrays()
        adata, layer = self.adata, self._setup_arg("layer")
    check_cells(adata)
    if key_added is not None:
        reserve_predictions(adata, key_added)
    asked = self if part is None else self._part(part)
    model, ids, columns = asked.select_drugs(drugs)
    placed = place_cells(adata, self.profile, method="none", layer=layer, min_coverage=min_coverage)
    if not own:
        _check_on_scale(self, adata, placed.match, layer)
    values, typicality = np.empty((adata.n_obs, len(ids)), dtype=np.float32), np.empty(adata.n_obs)
    names = np.asarray(adata.obs_names.astype(str), dtype=object)
    inputs = model._sample_inputs(adata)
    for rows, block in placed.blocks(batch_size):
        extra = () if inputs is None else (inputs[rows],)
        values[rows] = model._predict_rows(block.values, columns, names[rows], *extra)
        typicality[rows] = block.typicality
    reliability = placed.coverage * np.clip(typicality, 0, 1)
    verdict = verdict_on_lines(reliability, placed.coverage)
    results = PredictedResponse.of(
        model,
        ids,
        columns,
        values,
        reliability,
        gene_coverage=placed.coverage,
        harmonization=placed.harmonization.summary(),
        verdict=verdict,
        network_share=model._network_share(names, adata.n_obs, columns),
    )
    if key_added is not None:
        if verdict != "ok":
            warnings.warn(verdict, UserWarning, stacklevel=2)
        results.store(adata, key_added)
    return results.table(adata.obs_names)


def _check_on_scale(model: DrugResponseModel, adata: AnnData, match: GeneMatch, layer: str | None) -> None:
    """Raise unless expression is on the scale that the model was trained on."""
    measured = match.columns >= 0
    rows = sample_rows(adata, layer=layer)[:, match.columns[measured]].toarray()
    departure, distance = model.profile.departure(rows, measured)
    n_lines = max(model.reference.n_lines, 5)
    limit = _FARTHEST * np.sqrt((n_lines + 1) / (n_lines - 3))  # deviations over few lines are uncertain
    if departure <= limit or (len(rows) < _FEW and distance <= _FARTHEST_FEW):
        return
    raise ValueError(
        f"`{'adata.X' if layer is None else f'adata.layers[{layer!r}]'}` is not on the scale that {type(model).__name__} was "
        f"trained on ({model.reference.expression_scale} expression of {model.reference.n_lines} lines): genes lie {departure:.1f} "
        f"standard deviations of the lines from the lines' mean, and more than {limit:.1f} is not believed. Cells, counts and "
        "profiles of other platforms are predicted by `scdrug.tl.predict_response(adata, model)`, which brings them onto the "
        "scale first and stores the same; or call `model.predict(scdrug.pp.harmonize(adata, model.profile))`."
    )


@checked
def get_latent_representation(
    self: DrugResponseModel, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
) -> np.ndarray:
    """Coordinates of samples along the reference's leading directions of variation (samples × K).

    Parameters
    ----------
    adata
        Samples × genes on the reference's scale; the training reference if omitted.
    layer
        Layer to read; `X` if omitted.
    batch_size
        Rows a block.
    """
    self._check_if_trained(warn=False)
    if adata is None:
        self._training_arrays()
        adata, layer = self.adata, self._setup_arg("layer")
    placed = place_cells(adata, self.profile, method="none", layer=layer, min_coverage=0.0)
    inputs = self._sample_inputs(adata)
    blocks = [
        self._latent_rows(block.values, *(() if inputs is None else (inputs[rows],)))
        for rows, block in placed.blocks(batch_size)
    ]
    return np.vstack(blocks)
