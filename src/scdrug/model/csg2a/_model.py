"""CSG2A as a model: pretraining on perturbations, training on responses, prediction."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from ..._arguments import checked
from ..._former import formerly
from ...pp._match_cells import match_cells
from ...pp._perturbation import read_perturbations
from .._batches import TrainingTask
from .._blend import BlendedModel, BlendedState
from .._card import MethodCard
from .._network import history_of, run_phase
from .._options import PhaseOptions, TrainOptions, check_devices, given
from .._plan import Phase, seeded
from .._schema import Count, Name, Part
from ._module import CSG2ANetwork
from ._perturb import PretrainedCore, Profiles, pretraining_phase
from ._structures import Structures
from ._training import Blueprint, response_phase

if TYPE_CHECKING:
    from anndata import AnnData


class _CorePart(Part):
    """What is said of a pretrained core."""

    shape: dict[str, Any]
    summary: dict[str, Any]


class _NetworkPart(Part):
    """What the network keeps beside its arrays."""

    panel: list[Name]
    n_features: Count
    #: −1 for no prior network.
    n_edges: Annotated[int, Field(ge=-1, le=1 << 40)]
    pretrained: _CorePart | None


class CSG2AState(BlendedState):
    """What the model keeps beside its arrays."""

    network: _NetworkPart  # type: ignore[assignment]


class CSG2A(BlendedModel):
    """Condition-specific gene-gene attention (Bang et al. 2024).

    A core predicts expression under treatment from basal expression, structure, dose and time: the condition decides how
    genes act on each other. :meth:`pretrain` teaches it on perturbation data. :meth:`train` adds a head that predicts
    responses from basal expression, predicted expression and condition, with the core frozen or not.

    Without arguments this is the attention and the head of the paper on pretrained fingerprints, small enough to train in
    minutes; ``preset="csg2a"`` is the network of the paper and ``"csg2a_released"`` that of the code released with it.
    ``prior="process"`` adds a Gaussian process on the same data, and held-out responses tell how much of the network goes
    into a prediction.

    Parameters
    ----------
    adata, registry
        Bulk reference that :meth:`setup_anndata` was called on; or registry of an earlier setup, for loading without data.
    preset
        ``"default"``, ``"csg2a"`` or ``"csg2a_released"``. The arguments below replace its choices unless they are `None`.
    drug_features
        What is read of structures: ``"minimol"`` (pretrained fingerprints, extra ``molecule``), ``"morgan"``, ``"mat"`` (molecule
        attention transformer) or ``"graph"`` (graph isomorphism network).
    pretrained_drugs
        File with pretrained weights for ``drug_features="mat"``, as the authors of the transformer distribute it.
    propagation
        How attention acts on expression: ``"matmul"`` (paper), ``"rowsum"`` (released code), ``"none"`` (no attention).
    ppi
        Prior network between genes: ``"none"``, ``"string"`` (the published presets' choice), ``"dualgcn"``, or a file or
        DataFrame with the columns `source` and `target`.
    genes, n_genes
        Panel: ``"auto"`` (landmark genes, filled up to `n_genes` with the most variable ones), ``"landmarks"`` (the published
        presets' choice), ``"reference"`` (all), or names. A pretrained core brings its own panel.
    core
        Folder that :meth:`save_core` wrote: a pretrained core.
    freeze
        The core in :meth:`train`: ``"frozen"`` (in evaluation mode), ``"released"`` (weights frozen, dropout and batch norm
        running, as in the released code), ``"none"``, or ``"auto"``: frozen if it was pretrained.
    prior
        ``"process"``, or `None` for the network alone. The process compares structures by MiniMol and Morgan fingerprints with
        ``drug_features="minimol"``, else by Morgan fingerprints.
    settings
        Other settings by name, see :class:`~scdrug.model.csg2a._settings.Settings`.
    """

    card = MethodCard(
        name="CSG2A",
        summary="Gene attention under a chemical condition, pretrained on perturbations; on request beside a Gaussian process.",
        source="Bang, Koo and Kim 2024 (doi:10.1093/bioinformatics/btae249), section 3",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        validates=True,
        limits="Predicted expression means something only after pretraining. With a prior next to nothing of a known drug's prediction is network on GDSC.",
    )
    _state_schema = CSG2AState

    @checked
    @formerly(encoder="drug_features", encoder_weights="pretrained_drugs")
    def __init__(
        self, adata: AnnData | None = None, registry: dict[str, Any] | None = None, *, preset: str = "default",
        drug_features: str | None = None, pretrained_drugs: str | os.PathLike[str] | None = None, propagation: str | None = None,
        ppi: str | os.PathLike[str] | pd.DataFrame | None = None, genes: str | Sequence[str] | None = None, n_genes: int = 512,
        core: str | os.PathLike[str] | None = None, freeze: str | None = None, prior: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        changes = given(encoder=drug_features, propagation=propagation, freeze=freeze)
        blueprint = Blueprint.of(
            preset,
            settings,
            changes,
            genes=genes,
            n_genes=n_genes,
            ppi=ppi,
            pretrained_drugs=pretrained_drugs,
            core=core,
        )
        super().__init__(adata, registry, prior=prior, drug_kernel=blueprint.drug_kernel)
        self._blueprint, self.settings = blueprint, blueprint.settings
        self._take_defaults(self.settings)
        self._structures: Structures | None = None
        self.pretrain_history_: dict[str, pd.DataFrame] = {}
        shape = f"drug_features={self.settings.encoder!r}, propagation={self.settings.propagation!r}"
        self._model_summary_string = f"CSG2A(preset={preset!r}, {shape}, prior={prior!r})"
        self.init_params_ = blueprint.in_plain_types(self._get_init_params(locals()))

    def _make_module(self, task: TrainingTask) -> CSG2ANetwork:
        self._structures = Structures.read(list(self.drugs["smiles"]), self.settings.encoder)
        self._structures.warn_of_unknown(self.drugs["name"], stacklevel=4)
        return self._blueprint.for_responses(self.genes, task, self._structures)

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> list[Phase]:
        return [response_phase(self.module, task, self._structures, self._blueprint.freeze, options)]

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        self.module.known_conditions.copy_(self.module.conditions(self._structures))
        self._structures, self.history_ = None, {**self.pretrain_history_, **self.history_}
        super()._finish_training(expression, response)

    def _network_rows(
        self, expression: np.ndarray, lines: np.ndarray, drugs: np.ndarray, inputs: np.ndarray | None = None
    ) -> np.ndarray:
        return self._evaluate(self.module.respond, expression, np.asarray(drugs))

    def _with_drugs(self, other: CSG2A, drugs: pd.DataFrame) -> None:
        other._blueprint, other.module = self._blueprint, copy.deepcopy(self.module)
        conditions = self.module.conditions(Structures.read(list(drugs["smiles"]), self.settings.encoder))
        other.module.known_conditions = conditions.to(self.module.known_conditions.device)

    def _network_state(self) -> dict[str, Any]:
        core = self._blueprint.core
        return self.module.describe() | {"pretrained": None if core is None else core.describe()}

    def _load_network(self, state: dict[str, Any]) -> None:
        self.module = CSG2ANetwork.of(self.settings, len(self.drugs), state)
        if state["pretrained"] is not None:
            core = PretrainedCore({}, list(state["panel"]), **state["pretrained"])
            self._blueprint = replace(self._blueprint, core=core)

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        super()._load_module_arrays(arrays)
        self.module.check_positions(len(self.genes))
        if (core := self._blueprint.core) is not None:
            self._blueprint = replace(self._blueprint, core=core.with_weights(self.module.core))

    # ------------------------------------------------------------------ expression under treatment

    @checked
    def pretrain(
        self, adata: AnnData, *, control_layer: str = "control", layer: str | None = None, smiles_key: str = "smiles",
        dose: str | float = "dose", dose_unit: str | None = None, time: str | float = "time", time_unit: str | None = None,
        max_epochs: int = 200, batch_size: int = 128, lr: float = 1e-4, patience: int = 20, validation: float = 0.1,
        min_coverage: float = 0.3, accelerator: str = "auto", devices: int | str | list[int] = 1, seed: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Teach the core to predict expression under treatment, by mean squared error over genes (section 3.2.1).

        Genes are brought to robust z scores over the treated profiles. Validation holds out whole conditions
        (structure, dose and time), so that replicates stay together.

        Parameters
        ----------
        adata
            Treated profiles × genes with their controls in a layer, see :func:`scdrug.pp.pair_controls`.
        control_layer, layer
            Layers with expression before and after treatment; after it `X` if omitted.
        smiles_key
            Column of `obs` with the structures.
        dose, time
            Columns of `obs`, or one number for all.
        dose_unit, time_unit
            ``"µM"``, ``"nM"``, …; ``"h"``, ``"min"``, ….
        max_epochs, batch_size, lr, patience
            Of training; the defaults are those of the released code.
        validation
            Share of the conditions that decides when to stop.
        min_coverage
            Least share of the panel's genes that must be measured.
        accelerator, devices, seed
            Where to train; and seed of weights, the draw of conditions and the order of batches.

        Returns
        -------
        What it was trained on, and the squared error on held-out conditions beside that of predicting no change, and the mean
        change of training; a core that beats neither has learned nothing to carry over.

        Raises
        ------
        KeyError, ValueError
            If a layer or column is missing; doses or times have no unit or are negative, no structure can be read, or too few
            genes are measured.

        Examples
        --------
        >>> import scdrug
        >>> scdrug.settings.progress = False
        >>> reference, treated = scdrug.datasets.toy(), scdrug.datasets.toy_perturbations()
        >>> scdrug.model.CSG2A.setup_anndata(reference)
        >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
        >>> sorted(name for name in model.pretrain(treated, max_epochs=2) if name.startswith("mse"))
        ['mse', 'mse_mean_change', 'mse_no_change']
        >>> model.train(max_epochs=2)
        >>> model.predict(drugs={"ethanol": "CCO"}, key_added=None).columns.tolist()
        ['ethanol']
        """
        check_devices(accelerator, devices)
        data = read_perturbations(
            adata, control_layer=control_layer, layer=layer, smiles_key=smiles_key, dose=dose, dose_unit=dose_unit,
            time=time, time_unit=time_unit,
        )  # fmt: skip
        blueprint, expression = replace(self._blueprint, core=None), self._training_arrays()[0]
        panel = blueprint.panel(self.genes, expression, np.arange(len(expression)))
        columns = match_cells(adata, panel.genes, layer=layer, min_coverage=min_coverage).columns
        profiles = Profiles.read(data, columns, self.settings, validation=validation, seed=seed)
        with seeded(seed) as generator:
            self.module = blueprint.for_profiles(panel, profiles)
            phase = pretraining_phase(
                self.module, profiles, generator, max_epochs=max_epochs, batch_size=batch_size, lr=lr, patience=patience
            )
            records, best = run_phase(self, phase, TrainOptions(accelerator=accelerator, devices=devices), seed=seed)
        self.pretrain_history_ = history_of(records, "pretrain")
        self._blueprint = replace(blueprint, core=PretrainedCore.of(self.module, profiles, best))
        return self.pretraining

    @property
    def is_pretrained(self) -> bool:
        """Whether the core has learned from perturbation data."""
        return self._blueprint.core is not None

    @property
    def pretraining(self) -> dict[str, Any]:
        """What :meth:`pretrain` returned; empty if the core was not pretrained."""
        return {} if self._blueprint.core is None else dict(self._blueprint.core.summary)

    @checked
    def save_core(self, dir_path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the pretrained core to a folder, which `overwrite` may replace, for the `core` argument of other models.

        Raises
        ------
        RuntimeError, FileExistsError
            If the core was not pretrained, or the folder exists and `overwrite` is off.
        """
        if self._blueprint.core is None:
            raise RuntimeError("The core was not pretrained: call pretrain() on perturbation data first.")
        self._blueprint.core.save(dir_path, overwrite=overwrite)

    @checked
    def conditions(self, smiles: list[str], *, dose: float | None = None, time: float | None = None) -> np.ndarray:
        """Conditions of structures at a dose (µM) and time (h), those of the responses if omitted; structures × panel, ≥ 0.

        Raises
        ------
        ValueError
            If a structure cannot be read.
        """
        structures = Structures.readable(smiles, self.settings.encoder)
        return self.module.conditions(structures, dose=dose, time=time).numpy()

    @checked
    def perturb(self, expression: np.ndarray, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expression (samples × genes of the reference, on its scale) before and under treatment.

        `conditions` are samples × genes of the panel, or one row for all; see :meth:`conditions`.

        Returns
        -------
        Both as samples × genes of the panel, in robust standard deviations.
        """
        return tuple(self._evaluate(self.module.perturb, expression, conditions))

    @checked
    @formerly(prior="ppi")
    def attention(self, expression: np.ndarray, condition: np.ndarray, *, ppi: bool = True) -> np.ndarray:
        """Attention between genes under a condition (panel), averaged over samples (× genes of the reference, on its scale).

        `ppi` tells whether the prior network is added. The result is genes × genes of the panel, symmetric.
        """
        matrix = partial(self.module.attention, prior=ppi)
        return self._evaluate(matrix, expression, np.asarray(condition, dtype=np.float32).reshape(1, -1))
