"""CSG2A as a model: pretraining on perturbations, training on responses, prediction."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..._validate import examples
from .._batches import TrainingTask, hold_out
from .._card import MethodCard
from .._data import Calibration
from .._network import NetworkModel, TrainOptions, _given
from .._plan import Phase, Stopping
from ._blend import DEFAULT_SHARES, choose_shares, kinds_of, mixed_hold_out
from ._core_file import PretrainedCore, read_core
from ._kernel_path import KernelPath
from ._module import CSG2ANetwork
from ._panel import Panel, choose_panel, prior_edges
from ._perturb import PerturbationMixin
from ._settings import Settings, settings_of
from ._structures import Structures
from ._training import (
    GridBatches,
    PairLoss,
    drug_conditions,
    frozen_parts,
    optimizer_of,
    schedule_of,
    table_batches,
)

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Lines that stand for all where the spread or the mean of predictions is needed.
_N_TYPICAL = 200


class CSG2A(PerturbationMixin, NetworkModel):
    """Condition-specific gene-gene attention (Bang et al. 2024), on its own or beside a kernel path.

    A core predicts expression under treatment from basal expression, structure, dose and time: the condition decides how
    genes act on each other. :meth:`pretrain` teaches it on perturbation data. :meth:`train` adds a head that predicts
    responses from basal expression, predicted expression and condition, with the core frozen or not.

    ``preset="csg2a"`` is the network of the paper and ``"csg2a_released"`` that of the code released with it. The default is a
    smaller network beside a Gaussian process on the same data; the share of the network in a prediction is chosen on
    held-out lines, drugs and pairs, for each kind of question, and then all is fitted again on all responses.

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
        attention transformer) or ``"graph"`` (graph isomorphism network, extra ``graph``).
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
        changes = _given(encoder=encoder, propagation=propagation, freeze=freeze, kernel_path=kernel_path)
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

    # ------------------------------------------------------------------ training

    @property
    def _max_epochs(self) -> int:  # type: ignore[override]
        return self.settings.max_epochs

    @property
    def _batch_size(self) -> int:  # type: ignore[override]
        return self.settings.batch_size

    @property
    def _lr(self) -> float:  # type: ignore[override]
        return self.settings.lr

    @property
    def _patience(self) -> int:  # type: ignore[override]
        return self.settings.patience

    def _training_task(
        self, validation: float | pd.DataFrame | None, *, early_stopping: bool, seed: int
    ) -> TrainingTask:
        expression, response = self._training_arrays()
        names = self._training_names()
        self._structures = Structures.read(list(self.drugs["smiles"]), self.settings.encoder)
        self._warn_structures()
        share = self._validation_share if validation is None and early_stopping else validation
        table = pd.DataFrame(response, index=names, columns=self.drugs.index)
        if self.settings.kernel_path and isinstance(share, int | float):
            marked = mixed_hold_out(response, share, structured=self._structures.known, seed=seed)
        else:
            marked = hold_out(table, share, pairs=True, seed=seed)
        return TrainingTask(expression, response, marked, np.asarray(names, dtype=object))

    def _warn_structures(self) -> None:
        assert self._structures is not None
        unknown = self.drugs["name"][~self._structures.known]
        if len(unknown):
            warnings.warn(
                f"{len(unknown)} of {len(self.drugs)} drugs have no structure that can be read: {examples(unknown)}. The "
                "network sees zeros for them, and cannot tell them apart. Add SMILES to `adata.uns['drugs']`.",
                stacklevel=5,
            )

    def _make_module(self, task: TrainingTask) -> CSG2ANetwork:
        assert self._structures is not None
        self._panel = self._panel_for(task.expression, task.train_rows)
        network = self._new_network(self._panel, task.response.shape[1], self._structures.n_features)
        trained = np.isfinite(task.train_response)
        if self.settings.standardize:
            network.response_center.fill_(float(task.train_response[trained].mean()))
            network.response_scale.fill_(max(float(task.train_response[trained].std()), 1e-6))
        if self._core is None and self._structures.features is not None and self.settings.encoder == "minimol":
            rows = self._structures.features[self._structures.known & trained.any(axis=0)]
            if len(rows) > 1:
                network.core.feature_center.copy_(torch.from_numpy(rows.mean(axis=0)))
                network.core.feature_scale.copy_(torch.from_numpy(np.maximum(rows.std(axis=0), 1e-3)))
        self._network_inputs = self._panel.transform(task.expression)
        self._shares = None
        return network

    def _phases(self, task: TrainingTask, options: TrainOptions) -> Sequence[Phase | Callable[[], Phase]]:
        self._task = task
        if not self.settings.network:
            self._shares = dict.fromkeys(DEFAULT_SHARES, 0.0)
            self._chosen_epoch = None
            return []
        first = self._phase(task, options, options.max_epochs)
        if not (self.settings.kernel_path and self.settings.refit and task.has_validation):
            return [first]

        def again() -> Phase:
            self._shares = self._choose_shares(task)
            self._chosen_epoch = self.best_epoch_
            everything = TrainingTask(task.expression, task.response, np.zeros_like(task.validation), task.lines)
            torch.manual_seed(options.seed)
            self.module = self._make_module_again(everything)
            epochs = options.max_epochs if self.best_epoch_ is None else self.best_epoch_ + 1
            return self._phase(everything, options, epochs, name="refit")

        return [first, again]

    def _make_module_again(self, task: TrainingTask) -> CSG2ANetwork:
        shares = self._shares
        network = self._make_module(task)
        self._shares = shares
        return network

    def _phase(self, task: TrainingTask, options: TrainOptions, epochs: int, name: str = "") -> Phase:
        """Training on the responses of a task that are not held out."""
        assert isinstance(self.module, CSG2ANetwork)
        assert self._structures is not None
        trained, frozen = frozen_parts(self.module, self._frozen)
        loss = PairLoss(self.module, self._network_inputs, self._structures, self.settings, frozen=frozen)
        response = torch.from_numpy(task.train_response.astype(np.float32))
        if self.settings.norm == "layer":
            batches: Any = GridBatches(response, options.batch_size, generator=options.generator)
        else:
            batches = table_batches(response, options.batch_size, generator=options.generator)
        held = torch.from_numpy(self._stopping_response(task).astype(np.float32))
        return Phase(
            batches=batches,
            loss=loss,
            max_epochs=epochs,
            trained=trained,
            validation=table_batches(held, max(options.batch_size, 1024)) if task.has_validation else None,
            stopping=Stopping(patience=options.patience) if options.early_stopping and task.has_validation else None,
            optimizer=optimizer_of(self.settings, options.lr),
            schedule=schedule_of(self.settings, options.lr),
            name=name,
        )

    def _stopping_response(self, task: TrainingTask) -> np.ndarray:
        """Held-out responses that decide when to stop: of known drugs, where there are any.

        The potency of a few new drugs would drown what can be learned about lines.
        """
        known = np.isfinite(task.train_response).any(axis=0)
        some = task.validation_response.copy()
        some[:, ~known] = np.nan
        return some if np.isfinite(some).any() else task.validation_response

    # ------------------------------------------------------------------ kernel path

    @property
    def _drug_kernel(self) -> str:
        return "mean" if self.settings.encoder == "minimol" else "tanimoto"

    def _choose_shares(self, task: TrainingTask) -> dict[str, float]:
        """Share of the network for each kind of question, by the responses that were held out."""
        trained = np.isfinite(task.train_response)
        rows, drugs = trained.any(axis=1), trained.any(axis=0)
        smiles = self.drugs["smiles"].to_numpy(dtype=object)
        path = KernelPath.fit(
            task.expression[rows], task.train_response[rows][:, drugs], smiles[drugs], drug_kernel=self._drug_kernel
        )
        held = np.flatnonzero(task.validation.any(axis=1))
        known = np.where(rows, np.cumsum(rows) - 1, -1)[held]
        kernel = np.full((len(held), len(drugs)), np.nan)
        kernel[:, drugs] = path.predict(task.expression[held], np.arange(drugs.sum()), known)
        others = np.flatnonzero(~drugs & task.validation.any(axis=0))
        if len(others) and path.drug_kernel:
            new = path.unseen(smiles[others])
            kernel[:, others] = new.predict(task.expression[held], np.arange(len(others)), known)
        self._keep_conditions()
        network = self._network_rows(task.expression[held], np.arange(len(drugs)))
        kinds = {kind: mask[held] for kind, mask in kinds_of(task.validation, trained).items()}
        return choose_shares(kernel, network, task.response[held], kinds)

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        task = self._task
        if self.settings.kernel_path:
            if self._shares is None:
                self._shares = self._choose_shares(task) if task.has_validation else dict(DEFAULT_SHARES)
            else:
                self.best_epoch_ = self._chosen_epoch
            used = response if self.settings.refit else task.train_response
            rows = np.isfinite(used).any(axis=1)
            self._kernel = KernelPath.fit(
                expression[rows], _with_all_drugs(used[rows], response[rows]), list(self.drugs["smiles"]),
                drug_kernel=self._drug_kernel,
            )  # fmt: skip
            self._lines = {str(name): row for row, name in enumerate(task.lines[rows])}
        self._keep_conditions()
        self.history_ = {**self.pretrain_history_, **self.history_}
        self._task, self._network_inputs = None, None
        super()._finish_training(expression, response)
        if self._kernel is not None:
            self._kernel.arrays.pop("left_out", None)

    def _keep_conditions(self) -> None:
        assert isinstance(self.module, CSG2ANetwork)
        assert self._structures is not None
        found = drug_conditions(self.module, self._structures, self.settings)
        self.module.known_conditions = found.to(self.module.known_conditions.device)

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        drugs = np.arange(response.shape[1])
        if self._kernel is None or len(self._kernel.arrays["left_out"]) != len(expression):
            return self._predict_rows(expression, drugs).astype(np.float64), False
        left_out, share = self._kernel.arrays["left_out"], self._shares["line"]
        return left_out + share * (self._network_rows(expression, drugs) - left_out), False

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
        kinds = ("drug", "both") if self._new_drugs else ("pair", "line")
        share = np.where(known >= 0, *(self._shares[kind] for kind in kinds))[:, None]
        base = self._kernel.predict(expression, drugs, known)
        if share.any():
            offset = self._offsets[drugs]
            base = base + share * (self._network_rows(expression, drugs) - base - offset)
            base = base + self._shares["potency"] * offset
        elif self._new_drugs:
            base = base + self._shares["potency"] * self._offsets[drugs]
        return base.astype(np.float32)

    @property
    def _offsets(self) -> np.ndarray:
        """How much more the network predicts for each drug than the kernel path, over typical lines; 0 for known drugs."""
        assert self._kernel is not None
        return self._kernel.arrays.get("offset", np.zeros(len(self.drugs), dtype=np.float32))

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
        if other._kernel is not None:
            some = other._kernel.arrays["lines"][:_N_TYPICAL]
            drugs, new = np.arange(len(smiles)), np.full(len(some), -1)
            difference = other._network_rows(some, drugs) - other._kernel.predict(some, drugs, new)
            other._kernel.arrays["offset"] = difference.mean(axis=0).astype(np.float32)
        # no line of the reference is needed to describe how the network's predictions are spread
        predicted = other._predict_rows(self._typical_lines(), np.arange(len(smiles)))
        unknown = np.full(predicted.shape, np.nan)
        other.calibration_ = Calibration.fit(predicted, unknown, held_out=False, level=self.calibration.level)
        return other

    def _typical_lines(self, n: int = _N_TYPICAL) -> np.ndarray:
        """Lines to describe predictions with: the training lines where they are kept, else draws from their profile."""
        if self._kernel is not None:
            return self._kernel.arrays["lines"][:n]
        profile = self.profile
        rng = np.random.default_rng(0)
        factors = rng.normal(size=(n, len(profile.loadings))) @ profile.loadings
        noise = np.sqrt(profile.noise) * rng.normal(size=(n, len(profile.mean)))
        return (profile.mean + profile.sd * (factors + noise)).astype(np.float32)

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, Any]:
        assert self._panel is not None
        network = self.module
        edges = network.core.attention.edges
        return {
            "panel": list(self._panel.genes),
            "clip": self._panel.clip,
            "n_features": len(network.core.feature_center),
            "n_edges": -1 if edges is None else edges.shape[1],
            "shares": self._shares,
            "lines": list(self._lines),
            "drug_kernel": None if self._kernel is None else self._kernel.drug_kernel,
            "new_drugs": self._new_drugs,
            "pretrained": None if self._core is None else self._core.describe(),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._loaded = state
        edges = None if state["n_edges"] < 0 else torch.zeros((2, 0), dtype=torch.int64)
        self.module = CSG2ANetwork(
            self.settings, len(state["panel"]), len(self.drugs), n_features=state["n_features"], edges=edges
        )
        if edges is not None:
            self.module.core.attention.edges = torch.zeros((2, state["n_edges"]), dtype=torch.int64)
        self._shares, self._new_drugs = state["shares"], state["new_drugs"]
        self._lines = {name: row for row, name in enumerate(state["lines"])}

    def _module_arrays(self) -> dict[str, np.ndarray]:
        assert self._panel is not None
        arrays = {f"network.{key}": value for key, value in super()._module_arrays().items()}
        arrays |= {f"panel.{key}": getattr(self._panel, key) for key in ("columns", "center", "scale")}
        if self._kernel is not None:
            arrays |= {f"kernel.{key}": value for key, value in self._kernel.arrays.items()}
        return arrays

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        super()._load_module_arrays(part("network."))
        state = self._loaded
        self._panel = Panel(list(state["panel"]), **part("panel."), clip=state["clip"])
        if state["drug_kernel"] is not None:
            self._kernel = KernelPath(part("kernel."), state["drug_kernel"])
        if state["pretrained"] is not None:
            self._core = PretrainedCore.of(self.module.core, self._panel.genes, state["pretrained"])


def _with_all_drugs(used: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Responses to fit on; a drug of which all are held out keeps its mean, so that it has a column."""
    empty = ~np.isfinite(used).any(axis=0)
    if not empty.any():
        return used
    filled = used.copy()
    filled[:, empty] = response[:, empty]
    return filled


def _make_plain(params: dict[str, Any], **values: Any) -> None:
    """Put the arguments of the constructor into a form that a file can hold."""
    ppi, genes = values["ppi"], values["genes"]
    plain = {
        # weights and edges stand in the file of the model; to train it anew they have to be given again
        "ppi": "(table)" if isinstance(ppi, pd.DataFrame) else os.fspath(ppi) if isinstance(ppi, os.PathLike) else ppi,
        "core": None,
        "genes": genes if genes is None or isinstance(genes, str) else [str(gene) for gene in genes],
        "encoder_weights": None if values["weights"] is None else "(file)",
        "settings": None if values["settings"] is None else dict(values["settings"]),
    }
    for part in params.values():
        part.update({name: value for name, value in plain.items() if name in part})


def _init_arguments(params: dict[str, Any]) -> dict[str, Any]:
    together = {**params["non_kwargs"], **params["kwargs"]}
    return {name: value for name, value in together.items() if name not in ("adata", "registry")}
