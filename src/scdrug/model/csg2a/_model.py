"""CSG2A as a model: pretraining on perturbations, training on responses, prediction."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..._arguments import checked
from .._card import MethodCard
from .._data import Calibration
from .._network import NetworkModel
from .._options import given
from ._core_file import PretrainedCore, read_core
from ._files import FilesMixin, _init_arguments, _make_plain
from ._fit import TrainingMixin
from ._kernel_path import KernelPath
from ._module import CSG2ANetwork
from ._panel import Panel, choose_panel, prior_edges
from ._perturb import PerturbationMixin
from ._settings import Settings, settings_of
from ._structures import Structures

if TYPE_CHECKING:
    from anndata import AnnData


#: Lines that stand for all where the spread or the mean of predictions is needed.
_N_TYPICAL = 200


class CSG2A(FilesMixin, TrainingMixin, PerturbationMixin, NetworkModel):
    """Condition-specific gene-gene attention (Bang et al. 2024), on its own or beside a kernel path.

    A core predicts expression under treatment from basal expression, structure, dose and time: the condition decides how
    genes act on each other. :meth:`pretrain` teaches it on perturbation data. :meth:`train` adds a head that predicts
    responses from basal expression, predicted expression and condition, with the core frozen or not.

    ``preset="csg2a"`` is the network of the paper and ``"csg2a_released"`` that of the code released with it. The default is a
    smaller network beside a Gaussian process on the same data; the share of the network in a prediction is chosen on
    held-out lines and pairs, and then all is fitted again on all responses. Of drugs that were not in training the network has a
    fixed share in the mean response; how lines differ in it is left to the Gaussian process.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"default"``, ``"csg2a"`` or ``"csg2a_released"``. The arguments below replace its choices unless they are `None`.
    encoder
        What reads structures: ``"minimol"`` (pretrained fingerprints, extra ``molecule``), ``"morgan"``, ``"mat"`` (molecule
        attention transformer) or ``"graph"`` (graph isomorphism network).
    encoder_weights
        File with pretrained weights of the molecule attention transformer, as its authors distribute it.
    propagation
        How attention acts on expression: ``"matmul"`` (the paper's equation), ``"rowsum"`` (the released code), ``"none"``
        (control without attention).
    ppi
        Prior network between genes: ``"none"``, ``"string"``, ``"dualgcn"``, a file with the columns `source` and `target`, or a
        DataFrame. If omitted, ``"string"`` for the published presets.
    genes
        Panel of the network: ``"auto"`` (landmark genes, filled up with the most variable ones), ``"landmarks"``,
        ``"reference"`` (all), or names. If omitted, ``"landmarks"`` for the published presets, else ``"auto"``. A pretrained
        core brings its own panel.
    n_genes
        Size of the panel for ``"auto"``.
    core
        Folder that :meth:`save_core` wrote: a pretrained core.
    freeze
        What happens to the core in :meth:`train`: ``"frozen"`` (in evaluation mode), ``"released"`` (weights frozen, dropout
        and batch norm running, as in the released code), ``"none"``, or ``"auto"``: frozen if it was pretrained.
    kernel_path
        Whether predictions are those of the kernel path with a share of the network's.
    settings
        Other settings by name, see :class:`~scdrug.model.csg2a._settings.Settings`.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.settings.progress = False
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, encoder="morgan", n_genes=50)
    >>> model.train(max_epochs=2)
    >>> model.predict(drugs={"ethanol": "CCO"}, key_added=None).columns.tolist()
    ['ethanol']
    """

    card = MethodCard(
        name="CSG2A",
        summary="Gene attention under a chemical condition, pretrained on perturbations; by default beside a Gaussian process.",
        source="Bang, Koo and Kim 2024 (doi:10.1093/bioinformatics/btae249), section 3",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        limits="Predicted expression means something only after pretraining. Stops on a draw of its own, not on the benchmark's.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        preset: str = "default",
        encoder: str | None = None,
        encoder_weights: str | os.PathLike[str] | None = None,
        propagation: str | None = None,
        ppi: str | os.PathLike[str] | pd.DataFrame | None = None,
        genes: str | Sequence[str] | None = None,
        n_genes: int = 512,
        core: str | os.PathLike[str] | None = None,
        freeze: str | None = None,
        kernel_path: bool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(adata, registry)
        changes = given(encoder=encoder, propagation=propagation, freeze=freeze, kernel_path=kernel_path)
        self.settings: Settings = settings_of(preset, {**dict(settings or {}), **changes})
        if encoder_weights is not None and self.settings.encoder != "mat":
            raise ValueError(f"`encoder_weights` are for encoder='mat'; the encoder is {self.settings.encoder!r}.")
        if n_genes < 2:
            raise ValueError(f"`n_genes` must be 2 or more; found {n_genes}.")
        own = preset == "default"
        self._genes_wanted = ("auto" if own else "landmarks") if genes is None else genes
        self._n_genes = n_genes
        self._encoder_weights = None if encoder_weights is None else os.fspath(encoder_weights)
        self._ppi = ("none" if own else "string") if ppi is None else ppi
        self._core: PretrainedCore | None = None if core is None else read_core(core)
        self._panel: Panel | None = None
        self._structures: Structures | None = None
        self._kernel: KernelPath | None = None
        self._shares: dict[str, float] | None = None
        self._lines: dict[str, int] = {}
        self._new_drugs = False
        self.pretrain_history_: dict[str, pd.DataFrame] = {}
        shape = self.settings
        self._model_summary_string = (
            f"CSG2A(preset={preset!r}, encoder={shape.encoder!r}, propagation={shape.propagation!r}, "
            f"kernel_path={shape.kernel_path})"
        )
        self.init_params_ = self._get_init_params(locals())
        _make_plain(self.init_params_, ppi=ppi, genes=genes, weights=self._encoder_weights, settings=settings)

    # ------------------------------------------------------------------ shape

    def _panel_for(self, expression: np.ndarray, rows: np.ndarray) -> Panel:
        """The panel of a pretrained core, or one that is chosen now."""
        if self._core is not None:
            return self._core.panel_in(self.genes, expression[rows], clip=self.settings.clip)
        return choose_panel(
            self.genes, expression, rows, wanted=self._genes_wanted, n_genes=self._n_genes, clip=self.settings.clip
        )

    def _new_network(self, panel: Panel, n_drugs: int, n_features: int) -> CSG2ANetwork:
        """A fresh network with the pretrained core, if there is one."""
        if self._core is not None:
            self._core.check(self.settings, n_features)
            edges = self._core.edges
        else:
            found = prior_edges(self._ppi, panel.genes)
            edges = None if found is None else torch.from_numpy(found)
        network = CSG2ANetwork(self.settings, len(panel.genes), n_drugs, n_features=n_features, edges=edges)
        if self._encoder_weights is not None and self._core is None:
            network.core.encoder.load_file(self._encoder_weights)
        if self._core is not None:
            network.core.load_state_dict(self._core.state)
        return network

    @property
    def _frozen(self) -> str:
        """What happens to the core in training."""
        if self.settings.freeze == "auto":
            return "none" if self._core is None else "frozen"
        if self.settings.freeze == "released" and self._core is None:
            return "none"
        return self.settings.freeze

    @property
    def is_pretrained(self) -> bool:
        """Whether the core has learned from perturbation data."""
        return self._core is not None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the network in predictions, 0–1.

        By kind of question: a missing ``"pair"`` of a known line, or a new ``"line"``, chosen on held-out responses; and the mean
        response of a new ``"drug"``, a setting. How lines differ in their response to a new drug is left to the kernel path.
        Empty without a kernel path.
        """
        return {} if self._shares is None else {**self._shares, "drug": self._potency_share}

    @property
    def _potency_share(self) -> float:
        """Share of the network in the mean response of new drugs; it was chosen for pretrained fingerprints alone."""
        both = self.settings.network and self.settings.kernel_path
        return self.settings.potency_share if both and self.settings.encoder == "minimol" else 0.0

    # ------------------------------------------------------------------ prediction

    def _network_rows(self, expression: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """What the network alone predicts (rows × drugs)."""
        assert self._panel is not None
        return self._evaluate(
            lambda basal: self.module.respond(basal, self.module.known_conditions[torch.from_numpy(drugs)]),
            self._panel.transform(expression),
        )

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        drugs = np.asarray(drugs)
        if self._kernel is None:
            return self._network_rows(expression, drugs)
        assert self._shares is not None
        known = (
            np.full(len(expression), -1) if names is None else np.array([self._lines.get(str(n), -1) for n in names])
        )
        base = self._kernel.predict(expression, drugs, known)
        share = np.where(known >= 0, self._shares["pair"], self._shares["line"])[:, None]
        if share.any() and not self._new_drugs:
            base = base + share * (self._network_rows(expression, drugs) - base)
        return base.astype(np.float32)

    @property
    def _takes_unseen_drugs(self) -> bool:
        return self._kernel is None or bool(self._kernel.drug_kernel)

    @property
    def _holds_lines(self) -> bool:  # type: ignore[override]
        return self.settings.kernel_path

    def _for_unseen(self, smiles: dict[str, str]) -> CSG2A:
        structures = Structures.read(list(smiles.values()), self.settings.encoder)
        other = CSG2A(registry=self.registry_, **_init_arguments(self.init_params_))
        other.module = copy.deepcopy(self.module)
        other._panel, other._core, other._shares, other._lines = self._panel, self._core, self._shares, self._lines
        other._structures, other._new_drugs = structures, True
        other._kernel = None if self._kernel is None else self._kernel.unseen(smiles.values())
        self._hand_over(other, smiles)
        other._keep_conditions()
        if self._potency_share and other._kernel is not None:
            lines, drugs = self._typical_lines(), np.arange(len(smiles))
            step = other._network_rows(lines, drugs) - other._kernel.predict(lines, drugs, np.full(len(lines), -1))
            other._kernel = other._kernel.raised(self._potency_share * step.mean(axis=0))
        # no line of the reference is needed to describe how the network's predictions are spread
        predicted = other._predict_rows(self._typical_lines(), np.arange(len(smiles)))
        unknown = np.full(predicted.shape, np.nan)
        other.calibration_ = Calibration.fit(predicted, unknown, held_out=False, level=self.calibration.level)
        return other

    def _typical_lines(self, n: int = _N_TYPICAL) -> np.ndarray:
        """Lines to describe predictions with: the training lines where they are kept, else draws from their profile."""
        if self._kernel is not None:
            lines = self._kernel.arrays["lines"]
            return lines[:: max(len(lines) // n, 1)][:n]
        profile = self.profile
        rng = np.random.default_rng(0)
        factors = rng.normal(size=(n, len(profile.loadings))) @ profile.loadings
        noise = np.sqrt(profile.noise) * rng.normal(size=(n, len(profile.mean)))
        return (profile.mean + profile.sd * (factors + noise)).astype(np.float32)
