"""PathwayTransfer: responses of single cells from bulk lines, through a shared code whose dimensions are pathways."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from ..._arguments import checked
from ..._former import Former, formerly
from ..._validate import check_choice
from .._arrays import check_positions
from .._batches import TrainingTask
from .._card import MethodCard
from .._explain import Explained
from .._options import PhaseOptions, TrainOptions, refuse_without_prior
from .._plan import Phase
from .._share import Shares, reserve_for_shares
from .._two_domains import CellSource, TwoDomainModel
from ._explain import (
    activity_of,
    explain_code,
    explain_expression,
    get_pathway_activity,
    get_pathway_table,
    summarise_codes,
)
from ._inputs import Targets, read_pathways, setup_anndata
from ._module import PathwayModule, PathwayState, Sizes
from ._settings import resolve_settings
from ._training import Phases, fit_prior, make_module, make_targets

if TYPE_CHECKING:
    from anndata import AnnData


class PathwayTransfer(TwoDomainModel):
    """Predict responses of single cells from bulk cell lines, through a code whose dimensions are pathways.

    An autoencoder learns from lines and, if there are any, from unlabelled cells. A shared encoder maps both to one code; a
    private encoder for each domain takes up what is not shared. A dense decoder reconstructs expression from both, and
    a sparse one from the shared code alone, in which each dimension reaches only the genes of its pathway. A head
    predicts responses to all drugs from the shared code (He et al. 2025, eq. 1-15). Beyond the paper: many drugs at
    once, regression, cells that were not in training, alignment losses, and a linear prior.

    Parameters
    ----------
    adata
        Bulk reference, or lines and cells of :func:`scdrug.pp.join_domains`, that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"default"``; ``"he2025"``, the paper, with its values of `n_top_genes` and `min_genes` for cisplatin, paclitaxel, PLX-4720
        and lapatinib where one of these is the only drug; ``"he2025_released"``, the authors' code without its defects. All
        other arguments replace a value of the preset.
    pathways
        Collection of gene sets: a name or the path of a ``.gmt`` file, see :func:`scdrug.datasets.gene_sets`. If omitted, the
        mask that :func:`scdrug.pp.pathway_mask` stored in the reference, which also takes a mapping of names to genes.
    target
        What is predicted: ``"response"``, or ``"sensitivity"``, the probability of being sensitive.
    labels, fraction
        How ``target="sensitivity"`` labels continuous responses, see :func:`scdrug.pp.binarize_response`; responses that are 0 and
        1 already are taken as they are (1 = sensitive).
    variant
        ``"full"``; without pathways ``"shared"``; with a critic ``"adversarial_shared"``; without a shared encoder
        ``"adversarial"`` and ``"base"``.
    prior
        ``"linear"`` adds a ridge regression on all genes: the prediction is prior + share · (network − prior), with the share
        chosen on held-out lines. What the prior predicts does not go through pathways. By default the network is alone.
    linear_ridge
        Ridge of the prior; 1 if omitted.
    n_top_genes, standardize
        Most variable genes that the network reads, of lines and of cells; 0 for all. Standardise each gene by its mean and standard deviation over the training lines. The presets of the paper read
        log-normalised expression as it is, and standardise, without a ReLU, where a reference holds negative values.
    min_genes, strictly
        Genes, of those that the network reads, that a pathway needs, and whether it needs more than that.
    n_free, n_latent, n_hidden, n_head
        Nodes of the code that reach all genes; size of the code in variants without pathways; hidden width of encoders and
        dense decoder; hidden widths of the head.
    norm, dropout
        ``"layer"``, ``"batch"`` or ``"none"`` after hidden layers of encoders and dense decoder; share of hidden units dropped in
        training.
    w_dense, w_sparse, w_diff
        Weights of the two reconstructions and of the orthogonality of private and shared code.
    align, w_align
        ``"mmd"``, ``"coral"`` or ``"adversarial"``, a critic, brings the codes of lines and cells together, where there are
        cells; ``"none"``, which is also the default of the variants that have a critic or no shared encoder.
    noise, relu
        Standard deviation of the noise on cells in training, relative to the value; ReLU on the pathway reconstruction, as in
        eq. 8-9, for expression that is not negative.
    schedule
        ``"fine_tune"``: the autoencoder first, then everything together; ``"two_phase"``: the autoencoder first, then the
        head on its frozen code; ``"joint"``: everything together from the start.
    cells
        Unlabelled cells to learn from, raw; they are harmonized as :func:`scdrug.tl.predict_response` does by default, and let
        go when training is done. For other ways, join them with :func:`scdrug.pp.join_domains` before. New cells are
        predicted without training again.
    cells_layer, cells_scale, cells_method
        Layer of `cells` to read, its scale, and how cells are brought onto the scale of the lines, see
        :func:`scdrug.pp.harmonize`; ``cells_method="none"`` takes cells that were harmonized already.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, cells=cells)
    >>> model.train(max_epochs=2)
    >>> scdrug.tl.predict_response(cells, model)
    >>> model.get_pathway_activity(scdrug.pp.harmonize(cells, reference)).shape
    (200, 13)
    """

    card = MethodCard(
        name="PathwayTransfer",
        summary="Autoencoder on lines and cells with a shared code of pathways, and a head for all drugs.",
        source="He et al. 2025, eq. 1-15",
        unseen_cells=True,
        unseen_drugs=False,
        validates=True,
        latent=True,
        limits="Pathways are only as well identified as the sparse decoder reconstructs their genes; "
        "what `prior='linear'` predicts is not explained by pathways.",
    )

    # what users call stands beside what it reads
    setup_anndata = classmethod(setup_anndata)
    get_pathway_activity, get_pathway_table = get_pathway_activity, get_pathway_table
    _activity_of = activity_of

    @checked
    @formerly(task=Former("target", {"regression": "response", "classification": "sensitivity"}))
    def __init__(
        self, adata: AnnData | None = None, registry: dict[str, Any] | None = None, *, preset: str = "default",
        pathways: str | None = None, target: str | None = None, labels: str | None = None, fraction: float | None = None,
        variant: str | None = None, prior: str | None = None, linear_ridge: float | None = None,
        n_top_genes: int | None = None, standardize: bool | None = None, min_genes: int | None = None,
        strictly: bool | None = None, n_free: int | None = None, n_latent: int | None = None,
        n_hidden: int | None = None, n_head: Sequence[int] | None = None, norm: str | None = None,
        dropout: float | None = None, w_dense: float | None = None, w_sparse: float | None = None,
        w_diff: float | None = None, align: str | None = None, w_align: float | None = None, noise: float | None = None,
        relu: bool | None = None, schedule: str | None = None, cells: AnnData | None = None,
        cells_layer: str | None = None, cells_scale: str = "auto", cells_method: str = "quantile",
    ) -> None:  # fmt: skip
        super().__init__(adata, registry, source=CellSource(cells, cells_method, cells_layer, cells_scale))
        alone = str(self.drugs["name"].iloc[0]) if self.reference_ is not None and len(self.drugs) == 1 else None
        self.settings = resolve_settings(preset, locals(), drug=alone)
        self._take_defaults(self.settings)
        self._task: TrainingTask | None = None
        self._targets: Targets | None = None
        self._gene_sets: tuple[sp.csr_matrix, list[str]] | None = None
        self._lower_is_sensitive = True
        self.pathways_: list[str] = []
        self.pathway_table_: pd.DataFrame | None = None
        if self.settings.target == "sensitivity" and self.reference_ is not None:
            unit = {"measure": "sensitive", "unit": "probability", "direction": "higher is more sensitive"}
            self._lower_is_sensitive = self.reference_.lower_is_sensitive
            self.reference_ = replace(self.reference_, response=unit)
        if adata is not None:  # files of 0.1 say more of a prior than they have
            refuse_without_prior("PathwayTransfer", prior, example="linear", linear_ridge=linear_ridge)
            if self.settings.variant == "full":
                key, exact = self._setup_arg("pathway_key"), self.settings.strictly
                self._gene_sets = read_pathways(adata, self.genes, pathways, key=key, exact=exact)
        self._model_summary_string = f"PathwayTransfer(preset={preset!r}, target={self.settings.target!r})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ training

    def _fit_to(self, options: TrainOptions) -> None:
        if self.settings.monitor == "train_loss" and options.validation is None:
            options = replace(options, validation=0.0)
        try:
            super()._fit_to(options)
        finally:
            self._targets, self._task = None, None

    @property
    def _needs_cells(self) -> str:  # type: ignore[override]
        settings = self.settings
        return f"`variant={settings.variant!r}` with `align={settings.align!r}`" if settings.is_adversarial else ""

    def _training_task(self, validation: Any, *, early_stopping: bool, seed: int) -> TrainingTask:
        task = super()._training_task(validation, early_stopping=early_stopping, seed=seed)
        self._task = task if self.settings.prior is None else reserve_for_shares(task, seed=seed)
        return self._task

    def _make_module(self, task: TrainingTask) -> PathwayModule:
        self._targets = make_targets(
            task, self.settings, drugs=self.drugs.index, lower_is_sensitive=self._lower_is_sensitive
        )
        module, self.pathways_ = make_module(
            task, self._targets, self.settings, cells=self._cells, gene_sets=self._gene_sets
        )
        return module

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> list[Phase | Callable[[], Phase]]:
        phases = Phases(self.module, self.settings, task, options, cells=self._cells, targets=self._targets)
        self._cells = None  # the phases hold what of them is read
        return phases.of(self.settings.schedule)

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        if self.settings.prior is not None:
            self.module.fill(**fit_prior(self.module, self._task, ridge=self.settings.linear_ridge))
        buffers, self.pathway_table_ = summarise_codes(
            self.module, self.pathways_, expression, n_free=self.settings.n_free
        )
        self.module.fill(**buffers)
        super()._finish_training(expression, response)

    @property
    def shares_(self) -> Shares:
        """Share of the network in predictions, which is the same for all lines."""
        return Shares.all(float(self.module.gate) if self.settings.prior else 1.0)

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        return self.shares_.new_line

    def _part(self, part: str) -> PathwayTransfer:
        if self.settings.prior is None:
            return super()._part(part)
        check_choice("part", part, ("network", "prior"))
        alone = copy.copy(self)
        alone.module = copy.deepcopy(self.module)
        alone.module.fill(gate=float(part == "network"))
        return alone

    # ------------------------------------------------------------------ prediction

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        columns, rows = torch.from_numpy(np.asarray(drugs)), np.asarray(expression, dtype=np.float32)
        return self._evaluate(lambda x: self._answer(self.module(x, self.domain)[:, columns]), rows)

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        parts = [] if complete else [self.module.first_layer(self.domain)]
        if self.module.sizes.linear:
            chosen = torch.from_numpy(np.asarray(drugs)).to(self.module.linear.device)
            parts.append((self.module.linear[:, chosen], self.module.intercept[chosen]))
        if not parts:
            return None
        weights, intercept = (torch.hstack(part).cpu().numpy() for part in zip(*parts, strict=True))
        return weights, intercept

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        columns = torch.from_numpy(np.asarray(drugs))
        return self._evaluate(
            lambda first, x: self._answer(self.module.respond_after_first(first, x, columns, self.domain)), values, rows
        )

    def _explained(self, drugs: np.ndarray, *, baseline: str, of: str = "genes") -> Explained:
        explain = explain_code if of == "pathways" else explain_expression
        return explain(self, drugs, baseline=baseline)

    def _answer(self, out: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(out) if self.settings.target == "sensitivity" else out

    # ------------------------------------------------------------------ code

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self._evaluate(lambda x: self.module.encode(x, self.domain), np.asarray(expression, dtype=np.float32))

    # ------------------------------------------------------------------ files

    _state_schema = PathwayState

    def _state(self) -> dict[str, Any]:
        table = self.pathway_table_
        return {
            "sizes": self.module.sizes.model_dump(),
            "domain": self.domain,
            "n_cells": self.n_cells_,
            "pathways": self.pathways_,
            "table": None if table is None else {column: table[column].tolist() for column in table},
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        sizes = Sizes(**state["sizes"])
        if (sizes.n_panel, sizes.n_drugs) != (len(self.genes), len(self.drugs)):
            raise ValueError("`sizes` has other numbers of genes and drugs than the reference")
        self.module = PathwayModule(sizes, None)
        if self.module.sizes.linear:  # version 0.1 had the linear prior by default
            self.settings = replace(self.settings, prior="linear")
        self.domain, self.n_cells_ = state["domain"], state["n_cells"]
        self.pathways_ = list(state["pathways"])
        if state["table"] is not None:
            self.pathway_table_ = pd.DataFrame(state["table"], index=pd.Index(self.pathways_, name="pathway"))

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        check_positions("genes", arrays["genes"], len(self.genes))
        super()._load_module_arrays(arrays)
