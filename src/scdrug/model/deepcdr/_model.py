"""DeepCDR on any cell embedding and molecular graphs, with a Gaussian process for what needs no network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._arguments import checked
from ..._constants import KEYS
from ..._validate import check_choice, examples
from .._arrays import Array, with_kept
from .._card import MethodCard
from .._network import NetworkModel
from ..prior._drug_kernels import DRUG_KERNELS
from ._build import Built
from ._fit import TrainingMixin
from ._inputs import MODALITIES, join_modalities
from ._module import DeepCDRState
from ._posterior import KEPT, Posterior
from ._presets import TASKS, settings_of
from ._unseen_drugs import nearest_drugs, posterior_of_unseen

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


class DeepCDR(TrainingMixin, NetworkModel):
    """Drug response from a molecular graph and the expression, or an embedding, of a sample.

    A network on pairs in the manner of DeepCDR (Liu et al. 2020; Rössner et al. 2025) is trained on what a Gaussian
    process leaves: the process learns how drugs covary over lines, uses the responses of a line to other drugs where
    there are any, similar lines otherwise, and similar structures for new drugs. The network's share is chosen on
    validation responses. Presets give the published networks without the process.

    Lines of the training are recognised by name, as for all models that complete pairs.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on, or the MuData of :meth:`setup_mudata`.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"rossner2025"``: the published network with masked maximum pooling. ``"deepcdr_released"``: the same with the
        average over 100 atoms, filling included, of the released code. Other arguments replace what the preset says.
    cell_input
        ``"expression"``; ``"scores"``, the factor scores of the reference's profile; or a key of `obsm` with an embedding,
        which samples to predict must have too (see :func:`scdrug.pp.embed_cells`).
    modalities
        Keys of `obsm` with further measurements of lines (mutations, copy number, methylation). Rows with NaN are masked.
        By default those of :meth:`setup_mudata`, or none.
    offset
        ``"process"`` or ``"none"``.
    network
        `False` leaves the process alone, which is fitted in closed form within seconds.
    drug_kernel
        By what the process compares structures: ``"tanimoto"`` of Morgan fingerprints, ``"minimol"``, fingerprints of a
        pretrained network (extra ``molecule``), or the ``"mean"`` of both; potency uses whichever predicts it best.
    drug_features
        ``"rich"``, ``"deepcdr"`` (75 atom features), ``"contextpred"`` (for pretrained weights), or fingerprints:
        ``"morgan"``, ``"minimol"`` (pretrained, needs the extra `molecule`).
    drug_encoder
        Layers on graphs: ``"gin"``, ``"gcn"`` or ``"gat"``.
    drug_layers
        Widths of the layers on drugs.
    drug_pool
        ``"max"``, ``"mean"``, ``"sum"``, ``"max_mean"`` or ``"mean_padded"``.
    cell_layers
        Widths of the layers on cells; ``()`` for the published branch.
    head
        ``"plain"`` or ``"conv"``, the published one.
    identities
        Give training lines and drugs codes and biases of their own beside those of their features.
    dropout
        Share of units that are dropped in training.
    task
        ``"regression"``, or ``"classification"`` of responses 1 (sensitive) and 0, which predicts probabilities.
    pretrained_drugs
        File ``gcn_contextpred.pth`` (Hu et al. 2020) with weights of the drug branch, for ``drug_features="contextpred"``. It
        is read in training, without running code.

    Notes
    -----
    Without `validation` and with early stopping, training with the process holds out one pair, line and drug in twenty, so
    that all kinds of predictions are checked. They decide when to stop and how much the network counts; then the process
    is fitted to them too.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.DeepCDR.setup_anndata(reference)
    >>> model = scdrug.model.DeepCDR(reference)
    >>> model.train(max_epochs=2)
    >>> model.predict(drugs={"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}, key_added=None).columns.tolist()
    ['aspirin']
    """

    card = MethodCard(
        name="DeepCDR",
        summary="Molecular graphs and expression or a cell embedding, with a Gaussian process for what needs no network.",
        source="Liu et al. 2020; Rössner et al. 2025; process: Bonilla et al. 2008",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        validates=True,
        latent=True,
        limits="On GDSC nearly all accuracy comes from the process; potency of new drugs is predicted badly.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | MuData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        preset: str | None = None,
        cell_input: str = "expression",
        modalities: str | Sequence[str] | None = None,
        offset: str | None = None,
        network: bool | None = None,
        drug_kernel: str = "tanimoto",
        drug_features: str | None = None,
        drug_encoder: str | None = None,
        drug_layers: Sequence[int] | None = None,
        drug_pool: str | None = None,
        cell_layers: Sequence[int] | None = None,
        head: str | None = None,
        identities: bool | None = None,
        dropout: float | None = None,
        task: str = "regression",
        pretrained_drugs: str | os.PathLike[str] | None = None,
    ) -> None:
        adata = _expression_of(adata)
        super().__init__(adata, registry)
        check_choice("task", task, TASKS)
        check_choice("drug_kernel", drug_kernel, DRUG_KERNELS)
        if modalities is None:
            modalities = [] if adata is None else [str(key) for key in adata.uns.get(MODALITIES, [])]
        modalities = [modalities] if isinstance(modalities, str) else list(modalities)
        drug_layers = None if drug_layers is None else list(drug_layers)
        cell_layers = None if cell_layers is None else list(cell_layers)
        if task == "classification":
            if offset == "process":
                raise ValueError("`offset='process'` models continuous responses; classification takes 'none'.")
            offset = "none"
        self.settings = settings_of(
            preset,
            offset=offset,
            network=network,
            drug_features=drug_features,
            drug_encoder=drug_encoder,
            drug_layers=drug_layers,
            drug_pool=drug_pool,
            cell_layers=cell_layers,
            head=head,
            identities=identities,
            dropout=dropout,
        )
        self.cell_input, self.modalities, self.task = cell_input, tuple(modalities), task
        self.drug_kernel = drug_kernel
        for name in ("max_epochs", "batch_size", "lr", "patience"):
            setattr(self, f"_{name}", getattr(self.settings, name))
        if task == "classification" and self.reference_ is not None:
            _check_labels(adata, self._setup_arg("response_key"))
            self.reference_.response.update(
                measure="probability of sensitivity", unit="", direction="higher is more sensitive"
            )
        #: Share of the network in predictions of a known line and drug, a new line, a new drug, both new; chosen on
        #: validation responses of that kind, 0 where there are none; 1 without the process or without validation.
        self.network_weights_: list[float] = []
        #: Nearest training drugs of the drugs, for a model of drugs that were not in training.
        self.applicability_: pd.DataFrame | None = None
        self._built: Built | None = None
        self._posterior: Posterior | None = None
        if pretrained_drugs is not None:
            pretrained_drugs = os.fspath(pretrained_drugs)
            if self.settings.drug_features != "contextpred":
                raise ValueError(
                    "`pretrained_drugs` needs a model with drug_features='contextpred'; this one has "
                    f"{self.settings.drug_features!r}."
                )
        self._pretrained_drugs = pretrained_drugs
        self._model_summary_string = (
            f"DeepCDR(preset={preset!r}, cell_input={cell_input!r}, drug_kernel={drug_kernel!r})"
        )
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ setup

    @classmethod
    @checked
    def setup_mudata(
        cls,
        mdata: Any,
        *,
        rna: str = "rna",
        modalities: Sequence[str] | None = None,
        layer: str | None = None,
        response_key: str = KEYS.RESPONSE,
    ) -> None:
        """Register a MuData of lines for training: expression with responses, and further measurements.

        Parameters
        ----------
        mdata
            MuData whose modality `rna` is a bulk reference. Other modalities are joined by the names of lines and kept in
            `mdata.mod[rna].obsm`; a line that one does not cover, or with missing values, is masked there.
        rna
            Modality with expression and responses.
        modalities
            Other modalities to use; all if omitted.
        layer, response_key
            See :meth:`setup_anndata`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a modality is missing, none of its lines has expression, or the reference breaks the data contract.

        Warns
        -----
        UserWarning
            If a modality does not cover all lines; the message counts them.
        """
        adata, _ = join_modalities(mdata, rna, modalities)
        cls.setup_anndata(adata, layer=layer, response_key=response_key)

    @staticmethod
    @checked
    def join_modalities(mdata: Any, *, rna: str = "rna", modalities: Sequence[str] | None = None) -> AnnData:
        """Put modalities of new samples where prediction reads them.

        Parameters
        ----------
        mdata
            MuData of samples.
        rna
            Modality with expression.
        modalities
            Other modalities; all if omitted.

        Returns
        -------
        Copy of the modality with expression, with the others in `obsm`, to be passed to :meth:`predict` or
        :func:`scdrug.tl.predict_response`.
        """
        return join_modalities(mdata, rna, modalities, copy=True)[0]

    # ------------------------------------------------------------------ prediction

    @property
    def posterior(self) -> Posterior:
        """What prediction needs beside the network."""
        if self._posterior is None:
            raise RuntimeError("The model was not trained: call train() first.")
        return self._posterior

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        return self.posterior.read_inputs(adata)

    def _predict_rows(
        self,
        expression: np.ndarray,
        drugs: np.ndarray,
        names: np.ndarray | None = None,
        inputs: np.ndarray | None = None,
    ) -> np.ndarray:
        return self.posterior.predict(expression, drugs, names, inputs)

    def _latent_rows(self, expression: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        return self.posterior.cell_codes(expression, inputs)

    # ------------------------------------------------------------------ drugs that were not in training

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
        Indexed by name: ``nearest`` (names of training drugs, the most similar first, joined by semicolons), ``similarity`` (Tanimoto on Morgan
        fingerprints, of the most similar one, 0-1) and ``applicable``: whether that is at least what nine tenths of the
        training drugs find among the others.

        Raises
        ------
        ValueError
            If a structure cannot be read.
        """
        return nearest_drugs(self, drugs, n=n)

    @property
    def _takes_unseen_drugs(self) -> bool:
        return self.applicability_ is None  # a model of new drugs knows no others

    def _drug_notes(self) -> pd.DataFrame | None:
        return self.applicability_

    def _for_unseen(self, smiles: dict[str, str]) -> DeepCDR:
        init = {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]}
        options = {key: value for key, value in init.items() if key not in ("adata", "registry")}
        other = type(self)(registry=self.registry_, **options)
        self._hand_over(other, smiles)
        other._posterior = posterior_of_unseen(self, other, smiles)
        other.module, other.network_weights_ = other._posterior.module, self.network_weights_
        other.calibration_ = other._posterior.calibration(self.calibration.level)
        return other

    # ------------------------------------------------------------------ files

    #: The process compares new samples with training lines.
    _holds_lines = True

    _state_schema = DeepCDRState

    def _state(self) -> dict[str, Any]:
        table = self.applicability_
        return {
            "posterior": self.posterior.to_json(),
            "network_weights": self.network_weights_,
            "applicability": None if table is None else table.reset_index(drop=True).to_dict("list"),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.network_weights_, table = state["network_weights"], state["applicability"]
        self.applicability_ = None if table is None else pd.DataFrame(table, index=self.drugs.index)
        self._posterior = Posterior.from_json(self, state["posterior"])
        self.module = self._posterior.module

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self.posterior.lines)}

    def _wanted_arrays(self) -> dict[str, Array]:
        widths = self.posterior.net.config.cell_widths
        first, *others = widths
        if (first, *others) != (self.cell_input, *self.modalities):
            raise ValueError(
                f"`cell_widths` names {examples(widths)}, `init` {self.cell_input!r} and {self.modalities}"
            )
        wanted = with_kept(super()._wanted_arrays(), self.posterior.module.kept, KEPT)
        return wanted | {"lines": Array(("lines", sum(widths.values())))}


def _expression_of(adata: Any) -> Any:
    """The modality of a MuData that :meth:`DeepCDR.setup_mudata` registered; anything else as it is."""
    if adata is None or not hasattr(adata, "mod"):
        return adata
    for part in adata.mod.values():
        if MODALITIES in part.uns:
            return part
    raise ValueError("This MuData was not set up. Call `DeepCDR.setup_mudata(mdata)` first.")


def _check_labels(adata: AnnData, response_key: str) -> None:
    values = adata.obsm[response_key].to_numpy(dtype=float)
    found = np.unique(values[np.isfinite(values)])
    if not np.isin(found, (0.0, 1.0)).all():
        raise ValueError(
            f"Classification needs labels 1 (sensitive), 0 and NaN in `adata.obsm[{response_key!r}]`; found values such as "
            f"{', '.join(f'{value:g}' for value in found[:3])}. scdrug.pp.binarize_response makes labels."
        )
