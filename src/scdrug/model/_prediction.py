"""How every model is asked: by gene name, row block and drug."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._arguments import checked
from .._constants import KEYS
from .._validate import plain, unique_slugs
from ..pp._checks import check_cells
from ..pp._place import place_cells
from ..pp._rows import sample_rows
from ._data import DRUG_COLUMNS, ReferenceInfo
from ._explain import Explained, cannot_explain
from ._nearest import NEAREST, nearest_drugs
from ._results import PredictedResponse, reserve_predictions, verdict_on_lines
from ._unseen import JoinedModel, choose_drugs, readable_structures

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._genes import GeneMatch
    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel


#: Root mean square distance of a cohort's mean from the reference's, in standard deviations of lines, that is still its scale.
_FARTHEST = 2.0
#: Samples below which that distance may be their own, and the distance of quantile functions that they must exceed as well.
_FEW = 10
_FARTHEST_FEW = 0.5


class PredictionMixin(ABC):
    """Prediction for samples and drugs, from what a subclass predicts for rows of the gene panel."""

    if TYPE_CHECKING:
        adata: AnnData | None
        genes: np.ndarray
        drugs: pd.DataFrame
        reference: ReferenceInfo
        profile: ReferenceProfile
        notes_: dict[str, Any]

    # ------------------------------------------------------------------ what a subclass brings

    @abstractmethod
    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """Predict from expression on the reference's scale (rows × genes) for drugs by position (rows × drugs).

        `names` are the names of samples, for models that complete what is missing for lines that they know; rows
        without names are new to every model.
        """

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        """What a model reads of samples beside expression, such as an embedding (samples × features).

        Where it is not `None`, its rows are handed to `_predict_rows` as a fourth argument.
        """
        return None

    def _drug_notes(self) -> pd.DataFrame | None:
        """Further columns on the drugs for what :func:`scdrug.tl.predict_response` stores, by id: their nearest training drugs."""
        stored = self.notes_.get(NEAREST)
        return None if stored is None else pd.DataFrame(stored, index=self.drugs.index)

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        """Share of a network in predictions of `n` samples, with or without names, for drugs by position (0-1)."""
        return 0.0

    def _part(self, part: str) -> DrugResponseModel:
        """Return the model with predictions of its network, or of its prior, alone."""
        raise ValueError(
            f"`part={part!r}` is for a network that stands on a prior, and {type(self).__name__} is no such model. Omit `part`; "
            "MTIGCN, CSG2A, DeepCDR and PathwayTransfer take a `prior`."
        )

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × drugs) and intercepts of a model that is linear in expression, else `None`.

        Linear models are evaluated together with the harmonization, in one product a block.
        """
        return None

    def _link(self, values: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Turn the linear values of drugs by position (rows × drugs) into predictions, as a logistic regression does."""
        return values

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × units) and intercepts of what a model computes from expression itself, else `None`.

        Like a linear model, this is evaluated together with the harmonization; :meth:`_after_first_layer` does the rest.
        `complete` tells that no gene has to be filled: a layer that reads few genes is then better left to the rest.
        """
        return self._linear_weights(drugs)

    def _explained(self, drugs: np.ndarray, *, baseline: str, of: str = "genes") -> Explained:
        """Take the model apart for attribution to its genes or pathways.

        Linear models have this from here. A network on expression returns `Explained.of_expression`, with what it computes
        as `network`, and is then explained by :func:`scdrug.tl.attribute_genes`; one with pathways as inputs answers
        ``of="pathways"`` too.

        Parameters
        ----------
        drugs
            Drugs by position.
        baseline
            What contributions are counted from: ``"lines"``, the mean of the training lines, or ``"zero"``.
        of
            ``"genes"`` or ``"pathways"``.

        Raises
        ------
        TypeError
            If the model has no such parts; the message says which models have.
        """
        linear = self._linear_weights(drugs) if of == "genes" else None
        if linear is None:
            raise cannot_explain(type(self).__name__, of)
        return Explained.of_expression(
            self.reference, self.profile, baseline=baseline, scale=np.ones(len(drugs)), linear=linear
        )

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Turn values of the first layer (rows × units) into predictions (rows × drugs).

        `rows` are the rows themselves (rows × genes); genes that were to be filled are not.
        """
        return self._link(values, drugs)

    # ------------------------------------------------------------------ responses

    @checked
    def predict(
        self,
        adata: AnnData | None = None,
        *,
        drugs: str | Sequence[str] | Mapping[str, str] | None = None,
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
            self._check_on_scale(adata, placed.match, layer)
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

    def _check_on_scale(self, adata: AnnData, match: GeneMatch, layer: str | None) -> None:
        """Raise unless expression is on the scale that the model was trained on."""
        measured = match.columns >= 0
        rows = sample_rows(adata, layer=layer)[:, match.columns[measured]].toarray()
        departure, distance = self.profile.departure(rows, measured)
        n_lines = max(self.reference.n_lines, 5)
        limit = _FARTHEST * np.sqrt((n_lines + 1) / (n_lines - 3))  # deviations over few lines are uncertain
        if departure <= limit or (len(rows) < _FEW and distance <= _FARTHEST_FEW):
            return
        raise ValueError(
            f"`{'adata.X' if layer is None else f'adata.layers[{layer!r}]'}` is not on the scale that {type(self).__name__} was "
            f"trained on ({self.reference.expression_scale} expression of {self.reference.n_lines} lines): genes lie {departure:.1f} "
            f"standard deviations of the lines from the lines' mean, and more than {limit:.1f} is not believed. Cells, counts and "
            "profiles of other platforms are predicted by `scdrug.tl.predict_response(adata, model)`, which brings them onto the "
            "scale first and stores the same; or call `model.predict(scdrug.pp.harmonize(adata, model.profile))`."
        )

    # ------------------------------------------------------------------ drugs

    @checked
    def select_drugs(
        self, drugs: str | Sequence[str] | Mapping[str, str] | None
    ) -> tuple[DrugResponseModel | JoinedModel, list[str], np.ndarray]:
        """Find drugs by name or id, and predict others from their structure.

        Parameters
        ----------
        drugs
            Names, ids or SMILES; all drugs of the model if omitted. A mapping of names to SMILES asks for prediction from
            structure, for drugs of the training too; its keys, as slugs, are the ids of the result.

        Returns
        -------
        The model that predicts them (another one only where drugs are predicted from structure), their ids in the order
        of the query, and their columns in the model.

        Raises
        ------
        KeyError
            If a name is not known; the nearest names are offered.
        ValueError
            If a structure cannot be read, or the model cannot predict drugs that were not in training; the message says
            which models can.
        """
        if drugs is None:
            return self, list(self.drugs.index), np.arange(len(self.drugs))
        return choose_drugs(self, drugs)

    def _for_unseen(self, smiles: dict[str, str]) -> DrugResponseModel:
        """Return a trained model of drugs that were not in training, given as name → canonical SMILES, in this order.

        A subclass whose card says `unseen_drugs` brings this; :meth:`_hand_over` does what all of them need.
        """
        raise NotImplementedError(
            f"The card of {type(self).__name__} says that it predicts unseen drugs, but it has no `_for_unseen`."
        )

    def _hand_over(self, other: DrugResponseModel, smiles: dict[str, str]) -> None:
        """Give a model of unseen drugs this model's genes, profile and notes, and the table of its own drugs."""
        table = pd.DataFrame(
            {"name": list(smiles), "smiles": list(smiles.values())}, index=pd.Index(unique_slugs(smiles), dtype=object)
        ).reindex(columns=list(DRUG_COLUMNS), fill_value="")
        other.reference_ = replace(self.reference, drugs=table)
        other.profile_, other.notes_, other.is_trained_ = self.profile_, dict(self.notes_), True

    @checked
    def nearest_drugs(self, drugs: Mapping[str, str], *, n: int = 3) -> pd.DataFrame:
        """Training drugs that resemble new structures, and whether these lie within what the model was trained on.

        Parameters
        ----------
        drugs
            SMILES by name.
        n
            Training drugs to name.

        Returns
        -------
        Indexed by name: ``nearest`` (names of training drugs, the most similar first, joined by semicolons), ``similarity``
        (Tanimoto on Morgan fingerprints, of the most similar one, 0-1) and ``applicable``: whether that is at least what nine
        tenths of the training drugs find among the others.

        Raises
        ------
        ValueError
            If a structure cannot be read, or no drug of the training has one.
        """
        structures = readable_structures(drugs)
        found = nearest_drugs(self.drugs, structures, n=n)
        if found is None:
            raise ValueError(
                "No drug of the training has a structure to compare with. Add SMILES to `adata.uns['drugs']`."
            )
        return pd.DataFrame(found, index=pd.Index(list(structures), name="drug"))

    # ------------------------------------------------------------------ latent space, provenance

    @checked
    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
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

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self.profile.scores(expression)

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions, in plain types for ``uns``."""
        return plain(
            {
                "model": self.notes_.get("name", type(self).__name__),
                "model_class": type(self).__name__,
                "scdrug_version": __version__,
                **self.reference.response,
                **extra,
            }
        )
