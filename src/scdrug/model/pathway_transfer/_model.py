"""PathwayTransfer: responses of single cells from bulk lines, through a shared code whose dimensions are pathways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..._constants import KEYS
from ...pp._domains import BULK, CELLS
from .._card import MethodCard
from .._network import NetworkModel, _given
from ._cells import check_domains, harmonized_cells, take_rows
from ._inputs import read_pathways
from ._module import PathwayModule, Sizes
from ._phases import Phases
from ._settings import resolve_settings
from ._training import make_module, set_gate, summarise_codes

if TYPE_CHECKING:
    from anndata import AnnData

    from .._batches import TrainingTask
    from .._network import TrainOptions


class PathwayTransfer(NetworkModel):
    """Predict responses of single cells from bulk cell lines, through a code whose dimensions are pathways.

    An autoencoder learns from lines and, if there are any, from unlabelled cells. A shared encoder maps both to one code; a
    private encoder for each domain takes up what is not shared. A dense decoder reconstructs expression from both, and
    a sparse one from the shared code alone, in which each dimension reaches only the genes of its pathway. A head
    predicts responses to all drugs from the shared code (He et al. 2025, eq. 1-15). Beyond the paper: many drugs at
    once, regression, cells that were not in training, alignment losses, and a linear path beside the network.

    Parameters
    ----------
    adata
        Bulk reference, or lines and cells of :func:`scdrug.pp.join_domains`, that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"default"``; ``"he2025"``, the paper; ``"he2025_released"``, the authors' code without its defects. All other
        arguments replace a value of the preset.
    pathways
        Collection of gene sets: a name or the path of a ``.gmt`` file, see :func:`scdrug.datasets.gene_sets`. If omitted, the
        mask that :func:`scdrug.pp.pathway_mask` stored in the reference, which also takes a mapping of names to genes.
    task
        ``"regression"`` on the response, or ``"classification"``, which predicts the probability of being sensitive.
    labels, fraction
        How a classification labels continuous responses, see :func:`scdrug.pp.binarize_response`; responses that are 0 and
        1 already are taken as they are (1 = sensitive).
    variant
        ``"full"``; without pathways ``"shared"``; with a critic ``"adversarial_shared"``; without a shared encoder
        ``"adversarial"`` and ``"base"``.
    linear_ridge
        Ridge of a linear path on all genes, fitted in closed form, beside which the network predicts what is left; 0
        for none. What the linear path predicts does not go through pathways.
    n_top_genes
        Most variable genes that the network reads, of lines and of cells; 0 for all.
    standardize
        Standardise each gene by its mean and standard deviation over the training lines. The presets of the paper read
        log-normalised expression as it is, and standardise, without a ReLU, where a reference holds negative values.
    min_genes, strictly
        Genes, of those that the network reads, that a pathway needs, and whether it needs more than that.
    n_free
        Nodes of the code that reach all genes.
    n_latent
        Size of the code in variants without pathways.
    n_hidden, n_head
        Hidden width of encoders and dense decoder, and hidden widths of the head.
    norm
        ``"layer"``, ``"batch"`` or ``"none"``, after hidden layers of encoders and dense decoder.
    dropout
        Share of hidden units that are dropped in training.
    w_dense, w_sparse, w_diff
        Weights of the two reconstructions and of the orthogonality of private and shared code.
    align, w_align
        ``"mmd"``, ``"coral"`` or ``"adversarial"``, a critic, brings the codes of lines and cells together, where there are
        cells; ``"none"``, which is also the default of the variants that have a critic or no shared encoder.
    noise
        Standard deviation of the noise on cells in training, relative to the value.
    relu
        ReLU on the pathway reconstruction, as in eq. 8-9, for expression that is not negative.
    schedule
        ``"fine_tune"``: the autoencoder first, then everything together; ``"two_phase"``: the autoencoder first, then the
        head on its frozen code; ``"joint"``: everything together from the start.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32)
    >>> model.train(max_epochs=2, cells=cells)
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
        "the linear path of the default is not explained by pathways.",
    )

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        preset: str = "default",
        pathways: str | None = None,
        task: str | None = None,
        labels: str | None = None,
        fraction: float | None = None,
        variant: str | None = None,
        linear_ridge: float | None = None,
        n_top_genes: int | None = None,
        standardize: bool | None = None,
        min_genes: int | None = None,
        strictly: bool | None = None,
        n_free: int | None = None,
        n_latent: int | None = None,
        n_hidden: int | None = None,
        n_head: Sequence[int] | None = None,
        norm: str | None = None,
        dropout: float | None = None,
        w_dense: float | None = None,
        w_sparse: float | None = None,
        w_diff: float | None = None,
        align: str | None = None,
        w_align: float | None = None,
        noise: float | None = None,
        relu: bool | None = None,
        schedule: str | None = None,
    ) -> None:
        super().__init__(adata, registry)
        self.settings = resolve_settings(preset, locals())
        self._max_epochs, self._batch_size = self.settings.max_epochs, self.settings.batch_size
        self._patience, self._lr = self.settings.patience, self.settings.lr
        #: Unlabelled cells that it was trained on.
        self.n_cells_ = 0
        #: Private encoder that reads rows, in variants without a shared one.
        self.domain = CELLS
        self.pathways_: list[str] = []
        self.pathway_table_: pd.DataFrame | None = None
        if self.settings.task == "classification" and self.reference_ is not None:
            unit = {"measure": "sensitive", "unit": "probability", "direction": "higher is more sensitive"}
            self._lower_is_sensitive = self.reference_.lower_is_sensitive
            self.reference_ = replace(self.reference_, response=unit)
        if adata is not None:
            self.reference_ = replace(self.reference, n_lines=int(self._bulk_rows().sum()))
            self._gene_sets = None
            if self.settings.variant == "full":
                key, exact = self._setup_arg("pathway_key"), self.settings.strictly
                self._gene_sets = read_pathways(adata, self.genes, pathways, key=key, exact=exact)
        self._model_summary_string = f"PathwayTransfer(preset={preset!r}, task={self.settings.task!r})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ setup

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        response_key: str = KEYS.RESPONSE,
        domain_key: str = KEYS.DOMAIN,
        pathway_key: str = KEYS.PATHWAYS,
        **kwargs: Any,
    ) -> None:
        """Register a bulk reference, or lines and cells together, for training.

        Parameters
        ----------
        adata
            Bulk reference, or what :func:`scdrug.pp.join_domains` made of it and of cells.
        layer
            Layer that holds expression; `X` if omitted.
        response_key
            Key of `obsm`: DataFrame of rows × drug ids, NaN = not measured, and NaN for all cells.
        domain_key
            Column of `obs` that tells ``"bulk"`` from ``"cells"``; without that column all rows are lines.
        pathway_key
            Key of `varm` and `uns` with the mask of :func:`scdrug.pp.pathway_mask`.
        **kwargs
            Passed on to scvi-tools' registration.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `adata` does not follow the data contract, has cells only, or has responses of cells; the message says
            where.
        """
        check_domains(adata, domain_key, response_key)
        cls._register(
            adata,
            setup_method_args=cls._get_setup_method_args(**locals()),
            layer=layer,
            response_key=response_key,
            **kwargs,
        )

    def _bulk_rows(self) -> np.ndarray:
        key = self._setup_arg("domain_key")
        if key not in self.adata.obs:
            return np.ones(self.adata.n_obs, dtype=bool)
        return (self.adata.obs[key].astype(str) == BULK).to_numpy()

    def _training_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        expression, response = super()._training_arrays()
        bulk = self._bulk_rows()
        return take_rows(expression, bulk), take_rows(response, bulk)

    def _training_names(self) -> pd.Index:
        return super()._training_names()[self._bulk_rows()]

    # ------------------------------------------------------------------ training

    def train(
        self,
        max_epochs: int | None = None,
        *,
        cells: AnnData | None = None,
        cells_layer: str | None = None,
        cells_scale: str = "auto",
        cells_method: str = "quantile",
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        batch_size: int | None = None,
        early_stopping: bool = True,
        validation: float | pd.DataFrame | None = None,
        patience: int | None = None,
        lr: float | None = None,
        seed: int = 0,
    ) -> None:
        """Train the network from scratch.

        Parameters
        ----------
        max_epochs
            Most epochs of each phase.
        cells
            Unlabelled cells to learn from, raw; they are harmonized as :func:`scdrug.tl.predict_response` does by default. For
            other ways, join them with :func:`scdrug.pp.join_domains` before. New cells are predicted without training
            again.
        cells_layer, cells_scale, cells_method
            Layer of `cells` to read, its scale, and how cells are brought onto the scale of the lines, see
            :func:`scdrug.pp.harmonize`; ``cells_method="none"`` takes cells that were harmonized already.
        accelerator, devices
            Where to train, as scvi-tools takes them: ``"auto"``, ``"cpu"``, ``"gpu"``, ….
        batch_size
            Lines a step; as many cells go with them.
        early_stopping
            Stop when the loss on validation responses has not improved for `patience` epochs, and keep the best epoch.
        validation
            Responses that are held out of the loss and decide when to stop: a share of lines to draw, or a boolean DataFrame
            of lines × drug ids. If omitted, a tenth of the lines is drawn when `early_stopping` is on.
        patience
            Epochs without improvement before training stops.
        lr
            Learning rate.
        seed
            Seed of the weights, the order of batches, dropout and the drawn validation lines. The caller's random
            state is left as it was.

        Raises
        ------
        ValueError, TypeError, KeyError
            If there are too few lines or only one class, cells are needed and missing, or data do not fit; the message
            says where.
        RuntimeError
            If the model was loaded without its reference, or training diverges.

        Warns
        -----
        UserWarning
            If there are no cells, or drugs that have too few lines, or lines of one class only.
        """
        if self.settings.monitor == "train_loss" and validation is None:
            validation = 0.0
        if self.adata is not None:
            bulk = self._bulk_rows()
            self._cells = harmonized_cells(self, bulk, cells, method=cells_method, layer=cells_layer, scale=cells_scale)
            self.n_cells_ = 0 if self._cells is None else len(self._cells)
            self.domain = BULK if self._cells is None else CELLS
        try:
            self._train(
                _given(max_epochs=max_epochs, batch_size=batch_size, lr=lr, patience=patience),
                accelerator=accelerator,
                devices=devices,
                early_stopping=early_stopping,
                validation=validation,
                seed=seed,
            )
        finally:
            self._cells = None  # the model keeps no data

    _cells: np.ndarray | None = None

    def _make_module(self, task: TrainingTask) -> PathwayModule:
        module, self.pathways_, self._targets = make_module(self, task, self._cells)
        return module

    def _phases(self, task: TrainingTask, options: TrainOptions) -> list[Any]:
        self._task = task
        phases = Phases(self, task, options, cells=self._cells, targets=self._targets)
        self._cells = None  # the phases hold what of them is read
        return list(phases.of(self.settings.schedule))

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        if self.module.sizes.linear:
            set_gate(self, self._task)
        del self._targets, self._task
        self.pathway_table_ = summarise_codes(self, expression)
        super()._finish_training(expression, response)

    # ------------------------------------------------------------------ prediction

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        columns = torch.from_numpy(np.asarray(drugs))
        return self._evaluate(
            lambda x: self._answer(self.module(x, self.domain)[:, columns]), np.asarray(expression, dtype=np.float32)
        )

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
        n_hidden = values.shape[1] - len(drugs) if self.module.sizes.linear else values.shape[1]

        def respond(first: torch.Tensor) -> torch.Tensor:
            hidden = first[:, :n_hidden]
            if not n_hidden:
                hidden = self.module.first_values(torch.from_numpy(rows).to(first.device), self.domain)
            out = self.module.respond(self.module.after_first_layer(hidden, self.domain))[:, columns]
            return self._answer(self.module.share(out, first[:, n_hidden:]) if self.module.sizes.linear else out)

        return self._evaluate(respond, values)

    def _answer(self, out: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(out) if self.settings.task == "classification" else out

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        # where each domain has its own encoder, lines are read by theirs
        domain, self.domain = self.domain, BULK
        try:
            return super()._reference_predictions(expression, response)
        finally:
            self.domain = domain

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions, and how many unlabelled cells were trained on."""
        return super().provenance(n_training_cells=self.n_cells_, **extra)

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self._evaluate(lambda x: self.module.encode(x, self.domain), np.asarray(expression, dtype=np.float32))

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Shared code of samples (samples × nodes): pathways and free nodes, as the head reads them.

        Parameters
        ----------
        adata
            Samples × genes on the reference's scale; what the model was trained on if omitted.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block; results do not depend on it.
        """
        return super().get_latent_representation(adata, layer=layer, batch_size=batch_size)

    def get_pathway_activity(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
    ) -> pd.DataFrame:
        """Activity of pathways: the shared code in standard deviations of the lines, up = its genes go up.

        Parameters
        ----------
        adata
            Samples × genes on the reference's scale; what the model was trained on if omitted.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block; results do not depend on it.

        Returns
        -------
        Samples × pathways, free nodes last. Read it together with :meth:`get_pathway_table`, which says how well each
        is identified.

        Raises
        ------
        ValueError
            If the variant has no pathways.
        """
        if not self.pathways_:
            raise ValueError(f"`variant={self.settings.variant!r}` has no pathways. Train `variant='full'`.")
        code = self.get_latent_representation(adata, layer=layer, batch_size=batch_size)
        state = {name: getattr(self.module, name).cpu().numpy() for name in ("code_mean", "code_sd", "orientation")}
        activity = (code - state["code_mean"]) / state["code_sd"] * state["orientation"]
        samples = self.adata if adata is None else adata
        return pd.DataFrame(activity, index=samples.obs_names, columns=pd.Index(self.pathways_))

    def get_pathway_table(self) -> pd.DataFrame:
        """How well each pathway is identified by the sparse decoder, over the training lines.

        Returns
        -------
        By pathway: `n_genes` that the network reads; `r2` of the reconstruction of these genes from all nodes;
        `own_r2`, what is lost of it without this node; `identified`, whether that is at least 0.01; `nearest`, the other
        pathway that shares most of these genes, and `jaccard`, how much: nodes of equal genes cannot be told apart.

        Raises
        ------
        ValueError
            If the variant has no pathways.
        RuntimeError
            If the model was not trained.
        """
        self._check_if_trained(warn=False)
        if self.pathway_table_ is None:
            raise ValueError(f"`variant={self.settings.variant!r}` has no pathways. Train `variant='full'`.")
        return self.pathway_table_.copy()

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, Any]:
        table = self.pathway_table_
        return {
            "sizes": self.module.sizes.to_json(),
            "domain": self.domain,
            "n_cells": self.n_cells_,
            "pathways": self.pathways_,
            "table": None if table is None else {column: table[column].tolist() for column in table},
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.module = PathwayModule(Sizes.from_json(state["sizes"]), None)
        self.domain, self.n_cells_ = state["domain"], state["n_cells"]
        self.pathways_ = list(state["pathways"])
        if state["table"] is not None:
            self.pathway_table_ = pd.DataFrame(state["table"], index=pd.Index(self.pathways_, name="pathway"))
