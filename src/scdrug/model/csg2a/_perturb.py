"""Pretraining on perturbation data, and what a core says about expression under treatment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..._arguments import checked
from ...pp._match_cells import match_cells
from ...pp._molecules import why_unreadable
from ...pp._perturbation import read_perturbations
from .._base import run_phase
from .._batches import TableBatches
from .._network import history_of
from .._options import TrainOptions, check_devices
from .._plan import Phase, Stopping, seeded
from ._core_file import PretrainedCore, shape_of
from ._profiles import _errors, _fit_features, _hold_out_conditions, _ProfileLoss, _summary, _tensors, _with_structures
from ._structures import Structures
from ._training import drug_conditions

if TYPE_CHECKING:
    from anndata import AnnData

#: Samples that are propagated at once.
_CHUNK = 256


class PerturbationMixin:
    """What CSG2A does with expression under treatment."""

    @checked
    def pretrain(
        self,
        adata: AnnData,
        *,
        control_layer: str = "control",
        layer: str | None = None,
        smiles_key: str = "smiles",
        dose: str | float = "dose",
        dose_unit: str | None = None,
        time: str | float = "time",
        time_unit: str | None = None,
        max_epochs: int = 200,
        batch_size: int = 128,
        lr: float = 1e-4,
        patience: int = 20,
        validation: float = 0.1,
        min_coverage: float = 0.3,
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Teach the core to predict expression under treatment.

        Genes are brought to robust z scores over the treated profiles. Validation holds out whole conditions
        (structure, dose and time), so that replicates stay together.

        Parameters
        ----------
        adata
            Treated profiles × genes with their controls in a layer, see :func:`scdrug.pp.pair_controls`.
        control_layer
            Layer with expression before treatment.
        layer
            Layer with expression after treatment; `X` if omitted.
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
        accelerator, devices
            Where to train.
        seed
            Seed of weights, the draw of conditions and the order of batches.

        Returns
        -------
        What it was trained on, and the squared error on held-out conditions beside that of predicting no change, and the
        mean change of the training profiles; a core that beats neither has learned nothing to carry over.

        Raises
        ------
        KeyError
            If a layer or column is missing.
        ValueError
            If doses or times have no unit or are negative, no structure can be read, or too few genes are measured.

        Notes
        -----
        Bang et al. 2024, section 3.2.1: mean squared error over genes.

        Examples
        --------
        >>> import scdrug
        >>> scdrug.settings.progress = False
        >>> reference, treated = scdrug.datasets.toy(), scdrug.datasets.toy_perturbations()
        >>> scdrug.model.CSG2A.setup_anndata(reference)
        >>> model = scdrug.model.CSG2A(reference, encoder="morgan", n_genes=50)
        >>> sorted(name for name in model.pretrain(treated, max_epochs=2) if name.startswith("mse"))
        ['mse', 'mse_mean_change', 'mse_no_change']
        """
        check_devices(accelerator, devices)
        data = read_perturbations(
            adata, control_layer=control_layer, layer=layer, smiles_key=smiles_key, dose=dose, dose_unit=dose_unit,
            time=time, time_unit=time_unit,
        )  # fmt: skip
        data, structures, codes = _with_structures(data, self.settings.encoder)
        self._core = None
        expression, _ = self._training_arrays()
        panel = self._panel_for(expression, np.arange(len(expression)))
        match = match_cells(adata, panel.genes, layer=layer, min_coverage=min_coverage)
        tensors, measured = _tensors(data, match.columns, codes, clip=self.settings.clip)
        held = _hold_out_conditions(data.conditions, validation, seed)
        with seeded(seed) as generator:
            self.module = network = self._new_network(panel, 0, structures.n_features)
            _fit_features(network, structures, codes[~held], self.settings.encoder)

            def batches(rows: np.ndarray, source: torch.Generator | None) -> TableBatches:
                part = {name: tensor[torch.from_numpy(rows)] for name, tensor in tensors.items()}
                return TableBatches(part, batch_size, generator=source)

            loss = _ProfileLoss(network, structures, torch.from_numpy(measured))
            phase = Phase(
                batches=batches(~held, generator),
                loss=loss,
                max_epochs=max_epochs,
                trained=[network.core],
                validation=batches(held, None) if held.any() else None,
                stopping=Stopping(patience=patience) if held.any() else None,
                optimizer=lambda parameters: torch.optim.Adam(parameters, lr=lr),
                name="pretrain",
            )
            records, best = run_phase(self, phase, TrainOptions(accelerator=accelerator, devices=devices), seed=seed)
        network.eval()
        self.pretrain_history_ = history_of(records, "pretrain")
        summary = _summary(tensors, measured, held, data) | _errors(network, loss, tensors, measured, held)
        summary |= {"best_epoch": -1 if best is None else int(best)}
        shape = shape_of(self.settings, structures.n_features)
        self._core = PretrainedCore.of(network.core, panel.genes, {"shape": shape, "summary": summary})
        return dict(summary)

    @property
    def pretraining(self) -> dict[str, Any]:
        """What :meth:`pretrain` returned; empty if the core was not pretrained."""
        return {} if self._core is None else dict(self._core.summary)

    @checked
    def save_core(self, dir_path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the pretrained core to a folder, for the `core` argument of other models.

        Parameters
        ----------
        dir_path
            Folder to create.
        overwrite
            Replace an existing folder.

        Raises
        ------
        RuntimeError
            If the core was not pretrained.
        FileExistsError
            If the folder exists and `overwrite` is off.
        """
        if self._core is None:
            raise RuntimeError("The core was not pretrained: call pretrain() on perturbation data first.")
        self._core.save(dir_path, overwrite=overwrite)

    # ------------------------------------------------------------------ what a core says

    @checked
    def conditions(self, smiles: list[str], *, dose: float | None = None, time: float | None = None) -> np.ndarray:
        """Conditions of structures at a dose (µM) and time (h).

        Parameters
        ----------
        smiles
            Structures.
        dose, time
            Those of the model's responses if omitted.

        Returns
        -------
        Structures × genes of the panel, ≥ 0.

        Raises
        ------
        ValueError
            If a structure cannot be read.
        """
        structures = Structures.read(smiles, self.settings.encoder)
        if not structures.known.all():
            bad = [text for text, known in zip(smiles, structures.known) if not known]
            raise ValueError(
                f"{len(bad)} structures cannot be read as SMILES: {', '.join(map(why_unreadable, bad[:5]))}."
            )
        return drug_conditions(self.module, structures, self.settings, dose=dose, time=time).numpy()

    @checked
    def perturb(self, expression: np.ndarray, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict expression under treatment.

        Parameters
        ----------
        expression
            Samples × genes of the reference, on its scale.
        conditions
            Samples × genes of the panel, or one row for all; see :meth:`conditions`.

        Returns
        -------
        Basal and perturbed expression, samples × genes of the panel, in robust standard deviations.
        """
        basal = self._panel.transform(expression)
        conditions = np.broadcast_to(conditions, basal.shape)
        blocks = [
            self._evaluate(
                lambda g, c: self.module.core(self.module.scaling(g), c),
                basal[start : start + _CHUNK],
                conditions[start : start + _CHUNK],
            )
            for start in range(0, len(basal), _CHUNK)
        ]
        return basal, np.vstack(blocks)

    @checked
    def attention(self, expression: np.ndarray, condition: np.ndarray, *, prior: bool = True) -> np.ndarray:
        """Attention between genes under a condition, averaged over samples.

        Parameters
        ----------
        expression
            Samples × genes of the reference, on its scale.
        condition
            Genes of the panel.
        prior
            Whether the prior network is added.

        Returns
        -------
        Genes × genes of the panel, symmetric.
        """
        layer = self.module.core.attention
        return self._evaluate(
            lambda g, c: layer.mean_matrix(self.module.scaling(g), c, prior=prior),
            self._panel.transform(expression),
            np.asarray(condition, dtype=np.float32).reshape(1, -1),
        )
