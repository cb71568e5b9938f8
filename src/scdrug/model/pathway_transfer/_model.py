"""PathwayTransfer: responses of single cells from bulk lines, through a shared code whose dimensions are pathways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ..._arguments import checked
from ..._constants import KEYS
from ...pp._domains import BULK, CELLS
from .._arrays import Array, check_positions
from .._card import MethodCard
from .._explain import Explained
from .._network import NetworkModel
from ._activity import ActivityMixin
from ._cells import CellSource, check_domains, take_rows
from ._explain import explain_code, explain_expression
from ._fit import TrainingMixin
from ._inputs import read_pathways
from ._module import PathwayModule, PathwayState, Sizes
from ._settings import resolve_settings

if TYPE_CHECKING:
    from anndata import AnnData


class PathwayTransfer(TrainingMixin, ActivityMixin, NetworkModel):
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
        "the linear path of the default is not explained by pathways.",
    )

    @checked
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
        cells: AnnData | None = None,
        cells_layer: str | None = None,
        cells_scale: str = "auto",
        cells_method: str = "quantile",
    ) -> None:
        super().__init__(adata, registry)
        self.settings = resolve_settings(preset, locals())
        self._max_epochs, self._batch_size = self.settings.max_epochs, self.settings.batch_size
        self._patience, self._lr = self.settings.patience, self.settings.lr
        self._cell_source = CellSource(cells, cells_method, cells_layer, cells_scale)
        self._cells: np.ndarray | None = None
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
    @checked
    def setup_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        response_key: str = KEYS.RESPONSE,
        domain_key: str = KEYS.DOMAIN,
        pathway_key: str = KEYS.PATHWAYS,
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

    def _explained(self, drugs: np.ndarray, *, baseline: str, of: str = "genes") -> Explained:
        explain = explain_code if of == "pathways" else explain_expression
        return explain(self, drugs, baseline=baseline)

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

    # ------------------------------------------------------------------ files

    _state_schema = PathwayState

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

    def _wanted_arrays(self) -> dict[str, Array]:
        sizes = self.module.sizes
        if (sizes.n_panel, sizes.n_drugs) != (len(self.genes), len(self.drugs)):
            raise ValueError(
                f"`sizes` has {sizes.n_panel} genes and {sizes.n_drugs} drugs, the reference {len(self.genes)} and "
                f"{len(self.drugs)}"
            )
        return super()._wanted_arrays()

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        check_positions("genes", arrays["genes"], len(self.genes))
        super()._load_module_arrays(arrays)
