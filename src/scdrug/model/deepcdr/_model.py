"""DeepCDR on any cell embedding and molecular graphs, alone or beside a Gaussian process."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit

from ..._arguments import checked
from ..._constants import KEYS
from ..._former import Former, formerly
from ..._validate import check_choice
from ...pp._profile import ReferenceProfile
from .._arrays import Array
from .._batches import TrainingTask
from .._blend import BlendedModel
from .._card import MethodCard
from .._options import PhaseOptions, refuse_without_prior
from .._plan import Phase
from ..prior._drug_kernels import DRUG_KERNELS
from ._drugs import molecules
from ._inputs import MODALITIES, cell_features, describe_labels, expression_of, join_modalities, read_inputs
from ._module import DeepCDRNet, DeepCDRState, NetConfig
from ._settings import check_target, settings_of
from ._training import PairData, drug_codes, make_network, pair_phase

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

#: Pairs that pass the head at once.
_PAIRS = 1 << 16
#: Training lines whose features are kept.
_N_TYPICAL = 200


class DeepCDR(BlendedModel):
    """Drug response from a molecular graph and the expression, or an embedding, of a sample.

    A network on pairs (Liu et al. 2020; Rössner et al. 2025): molecules and cells are encoded, and a head predicts each pair.
    By default it is the published network with its defects mended: more features of atoms and bonds, layers that tell isomers
    apart, standardised features and responses, weight decay, and sizes that train in minutes. With ``prior="process"`` it stands on
    a Gaussian process over lines and drugs; on GDSC the network's share is near zero then, and the process predicts better alone.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on, or the MuData of :meth:`setup_mudata`.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"default"``; ``"rossner2025"``: the published network with masked maximum pooling. ``"deepcdr_released"``: the same with the
        average over 100 atoms, filling included, of the released code. Other arguments replace what the preset says.
    prior
        ``"process"``: stand on a Gaussian process, which knows training lines by name and compares others by `cell_input`, new
        drugs by `drug_kernel`. `None`: the network alone.
    cell_input
        ``"expression"``; ``"scores"``, leading factors of the reference; or a key of `obsm` with an embedding, which samples to
        predict must have too (see :func:`scdrug.pp.embed_cells`).
    modalities
        Keys of `obsm` with further measurements for the network (mutations, methylation); rows with NaN are masked. By default
        those of :meth:`setup_mudata`, or none.
    drug_kernel
        Similarity of structures in the process: ``"tanimoto"``, the default, ``"minimol"`` (extra `molecule`), or their ``"mean"``.
    drug_features
        ``"rich"``, ``"deepcdr"`` (75 atom features), ``"contextpred"`` (for pretrained weights), or fingerprints: ``"morgan"``,
        ``"minimol"`` (extra `molecule`).
    drug_encoder, drug_pool
        Layers on graphs (``"gin"``, ``"gcn"`` or ``"gat"``), and summary of their atoms: ``"max"``, ``"mean"``, ``"sum"``,
        ``"max_mean"`` or ``"mean_padded"``.
    drug_layers, cell_layers
        Widths of the layers on drugs and on cells; ``()`` for the published branch of cells.
    head, dropout
        ``"plain"`` or ``"conv"``, the published one; and the share of units that are dropped in training.
    target
        What is predicted: ``"response"``, or ``"sensitivity"``, a probability learned from responses 1 (sensitive) and 0.
    pretrained_drugs
        File ``gcn_contextpred.pth`` (Hu et al. 2020) for ``drug_features="contextpred"``, read in training without running code.

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
        summary="Network on molecular graphs and expression or a cell embedding, alone or beside a Gaussian process.",
        source="Liu et al. 2020; Rössner et al. 2025; process: Bonilla et al. 2008",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        validates=True,
        latent=True,
        limits="With prior='process' predictions on GDSC are nearly all the process's; alone, the network stays behind it. "
        "Potency of new drugs is predicted badly.",
    )
    _state_schema = DeepCDRState
    module: DeepCDRNet

    @checked
    @formerly(
        preset=Former("preset", {None: "default"}),
        task=Former("target", {"regression": "response", "classification": "sensitivity"}),
    )
    def __init__(
        self, adata: AnnData | MuData | None = None, registry: dict[str, Any] | None = None, *, preset: str = "default",
        prior: str | None = None, cell_input: str = "expression", modalities: str | Sequence[str] | None = None,
        drug_kernel: str | None = None, drug_features: str | None = None, drug_encoder: str | None = None,
        drug_layers: Sequence[int] | None = None, drug_pool: str | None = None, cell_layers: Sequence[int] | None = None,
        head: str | None = None, dropout: float | None = None, target: str = "response",
        pretrained_drugs: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        adata = expression_of(adata)
        if modalities is None:
            modalities = [] if adata is None else [str(key) for key in adata.uns.get(MODALITIES, [])]
        modalities = [modalities] if isinstance(modalities, str) else list(modalities)
        drug_layers = None if drug_layers is None else list(drug_layers)
        cell_layers = None if cell_layers is None else list(cell_layers)
        pretrained_drugs = None if pretrained_drugs is None else os.fspath(pretrained_drugs)
        refuse_without_prior("DeepCDR", prior, drug_kernel=drug_kernel)
        super().__init__(adata, registry, prior=prior, drug_kernel=drug_kernel or "tanimoto")
        check_choice("drug_kernel", self._drug_kernel, DRUG_KERNELS)
        self.settings = settings_of(
            preset, drug_features=drug_features, drug_encoder=drug_encoder, drug_layers=drug_layers, drug_pool=drug_pool,
            cell_layers=cell_layers, head=head, dropout=dropout,
        )  # fmt: skip
        check_target(target, prior, self.settings, pretrained_drugs)
        self.cell_input, self.modalities, self.target = cell_input, tuple(modalities), target
        self._pretrained_drugs = pretrained_drugs
        self._take_defaults(self.settings)
        #: What the network is trained on, while it is.
        self._data: PairData | None = None
        if target == "sensitivity" and self.reference_ is not None:
            self.reference_.response.update(describe_labels(adata, self._setup_arg("response_key")))
        self._model_summary_string = f"DeepCDR(preset={preset!r}, prior={prior!r}, cell_input={cell_input!r})"
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    @checked
    def setup_mudata(
        cls, mdata: Any, *, rna: str = "rna", modalities: Sequence[str] | None = None, layer: str | None = None,
        response_key: str = KEYS.RESPONSE,
    ) -> None:  # fmt: skip
        """Register a MuData of lines for training: expression with responses, and further measurements.

        Parameters
        ----------
        mdata
            MuData whose modality `rna` is a bulk reference. Other modalities are joined by the names of lines and kept in
            `mdata.mod[rna].obsm`; lines that one does not cover, or with missing values, are counted in a warning and masked.
        rna, modalities
            Modality with expression and responses, and others to use; all if omitted.
        layer, response_key
            See :meth:`setup_anndata`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a modality is missing, none of its lines has expression, or the reference breaks the data contract.
        """
        cls.setup_anndata(join_modalities(mdata, rna, modalities)[0], layer=layer, response_key=response_key)

    @staticmethod
    @checked
    def join_modalities(mdata: Any, *, rna: str = "rna", modalities: Sequence[str] | None = None) -> AnnData:
        """Put modalities of new samples where prediction reads them.

        Parameters
        ----------
        mdata
            MuData of samples.
        rna, modalities
            Modality with expression, and others; all if omitted.

        Returns
        -------
        Copy of the modality with expression, with the others in `obsm`, to be passed to :meth:`predict` or
        :func:`scdrug.tl.predict_response`.
        """
        return join_modalities(mdata, rna, modalities, copy=True)[0]

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        return read_inputs(adata, self.cell_input, self.modalities, widths=self.module.config.cell_widths)

    def _features(self, expression: np.ndarray, inputs: np.ndarray | None) -> np.ndarray:
        return cell_features(expression, inputs, self.cell_input, self.profile_)

    def _prior_features(self, expression: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        return self._of_cell(self._features(expression, inputs))

    def _of_cell(self, features: np.ndarray) -> np.ndarray:
        return features[:, : self.module.config.cell_widths[self.cell_input]]

    # ------------------------------------------------------------------ training

    def _make_module(self, task: TrainingTask) -> DeepCDRNet:
        if self.cell_input == "scores":
            self.profile_ = ReferenceProfile.fit(task.expression, self.genes, n_components=self._n_profile_components)
        features = self._features(task.expression, read_inputs(self.adata, self.cell_input, self.modalities))
        widths = {key: self.adata.obsm[key].shape[1] for key in self.modalities}
        widths = {self.cell_input: features.shape[1] - sum(widths.values()), **widths}
        net, self._data = make_network(self.settings, self.drugs, features, widths, task.train_rows)
        if self.settings.scale_response and self.target == "response":
            net.set_scale(task.train_response)
        if self._pretrained_drugs is not None:
            net.drugs.encoder.load_file(self._pretrained_drugs)  # type: ignore[union-attr, operator]
        return net

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase | Callable[[], Phase]]:
        assert self._data is not None
        labels, decay = self.target == "sensitivity", self.settings.weight_decay
        return [pair_phase(self.module, self._data, task, options, classification=labels, decay=decay)]

    def _training_inputs(self, task: TrainingTask) -> dict[str, Any]:
        assert self._data is not None
        return super()._training_inputs(task) | {"features of the lines": self._data.features.numpy()}

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        assert self._data is not None
        data = self._data.to(self.module.mean.device)
        with torch.no_grad():
            self.module.codes = drug_codes(self.module, data.molecules, data.structure).clone()
        if self._keeps_features:
            self.module.typical = data.features[:: max(len(data.features) // _N_TYPICAL, 1)].clone()
        self._data = None  # it holds the training data
        super()._finish_training(expression, response)

    # ------------------------------------------------------------------ prediction

    def _network_rows(
        self, expression: np.ndarray, lines: np.ndarray, drugs: np.ndarray, inputs: np.ndarray | None = None
    ) -> np.ndarray:
        return self._respond(self._features(expression, inputs), drugs)

    def _respond(self, features: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        step = max(_PAIRS // max(len(drugs), 1), 1)
        starts = range(0, max(len(features), 1), step)
        parts = [self._evaluate(self.module.respond, features[i : i + step], np.asarray(drugs)) for i in starts]
        return expit(np.vstack(parts)) if self.target == "sensitivity" else np.vstack(parts)

    def _latent_rows(self, expression: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        return self._evaluate(self.module.cells, self._features(expression, inputs))

    # ------------------------------------------------------------------ drugs that were not in training

    def _with_drugs(self, other: DeepCDR, drugs: pd.DataFrame) -> None:
        features, pool = self.settings.drug_features, self.settings.drug_pool
        batch = molecules(list(drugs["smiles"]), features, pool=pool, names=list(drugs["name"]))
        other.module = copy.deepcopy(self.module).eval()
        with torch.no_grad():
            other.module.codes = other.module.encode_drugs(batch.to(self.module.mean.device))

    @property
    def _keeps_features(self) -> bool:
        """Whether features of training lines are kept, since neither the profile nor the prior tells what they are like."""
        told = self.cell_input == "expression" or (self.cell_input == "scores" and self.prior is None)
        return bool(self.modalities) or not told

    @property
    def _holds_lines(self) -> bool:  # type: ignore[override]
        return self.prior is not None or self._keeps_features

    def _typical_predictions(self, drugs: np.ndarray) -> np.ndarray:
        if not self._keeps_features:
            return super()._typical_predictions(drugs)
        features = self.module.typical.cpu().numpy()
        network = np.asarray(self._respond(features, drugs), dtype=np.float64)
        if self.prior_ is None:
            return network
        prior = self.prior_.predict(self._of_cell(features), None, drugs)
        return prior + self._pair_shares(np.full(len(features), -1), len(drugs)) * (network - prior)

    # ------------------------------------------------------------------ files

    def _network_state(self) -> dict[str, Any]:
        return {"net": self.module.config.model_dump(), "n_typical": len(self.module.typical)}

    def _load_network(self, state: dict[str, Any]) -> None:
        config = NetConfig(**state["net"]).check_blocks((self.cell_input, *self.modalities))
        self.module = DeepCDRNet(config, n_drugs=len(self.drugs), n_typical=state["n_typical"])

    def _wanted_arrays(self) -> dict[str, Array]:
        wanted = super()._wanted_arrays()
        return wanted | {"network.typical": wanted["network.typical"]._replace(finite=False)}
