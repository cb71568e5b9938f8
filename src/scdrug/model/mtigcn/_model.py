"""MTIGCN: lines and drugs as nodes of one graph, sensitivity, response and similarity as its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._arguments import checked
from ..._constants import KEYS
from ..._validate import check_choice
from .._arrays import Array, with_kept
from .._card import MethodCard
from .._network import NetworkModel
from ._build import Built
from ._finish import similarity_tables
from ._fit import TrainingMixin
from ._module import KEPT, MTIGCNModule, MTIGCNState
from ._new_drugs import posterior_of_unseen
from ._posterior import Posterior
from ._settings import PREDICTS, settings_of

if TYPE_CHECKING:
    from anndata import AnnData


class MTIGCN(TrainingMixin, NetworkModel):
    """Multi-task graph network on the bipartite graph of cell lines and the drugs that they are sensitive to.

    Lines (expression) and drugs (structure) are nodes; sensitive training pairs are edges. One encoder (NIHGCN) feeds
    three tasks: sensitive or resistant, the response itself, and the similarities of lines and of drugs. Lines, cells and
    drugs that were not in training are nodes without edges. Without a preset the network is added to a Gaussian process
    over lines and drugs, and held-out pairs decide how much it counts; the presets give the published networks alone.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on. A column ``threshold`` of ``uns["drugs"]`` says below
        which response a line is sensitive to a drug; without it the 12 % most sensitive lines are.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"mtigcn"``: Liu et al. 2024, with scales 8 and 15 on the correlations as its code has them, and heads of their own
        for both similarities. ``"mtigcn_released"``: what the released code computes. ``"nihgcn"``: classification alone.
        Other arguments replace what the preset says.
    predicts
        ``"response"`` in the unit of the reference, or ``"sensitivity"``, a probability; by default the former if it can.
    tasks
        Of ``"classification"``, ``"regression"`` and ``"similarity"``.
    process
        Start from the Gaussian process.
    network
        `False` leaves the process alone, which is fitted in seconds.
    hidden, width
        Widths of the projections of features and of the embeddings.
    alpha
        Weight of the interaction between a node and its neighbours, 0-1.
    weights
        Weights of the losses: ``"classification"``, ``"regression"``, ``"lines"`` and ``"drugs"`` (similarities).
    rank
        Factors that stand for expression; 0 for as many as there are lines, which loses nothing.
    edges
        ``"binary"``, or ``"weighted"`` by how far beyond the threshold a response lies.
    edge_dropout, node_dropout, dropout
        Shares of edges, of nodes that lose all edges, and of hidden units that a step leaves out.
    norm
        Normalise projections over the population, as the released code does and the paper does not say.
    drug_features
        ``"morgan"`` fingerprints, ``"minimol"`` (pretrained, extra ``molecule``), ``"both"``, or ``"table"``: strings of 0
        and 1 in the column ``fingerprint`` of ``uns["drugs"]``, with which no unseen drugs can be predicted.

    Notes
    -----
    An epoch is ten steps over the whole graph. Without `validation` and with early stopping, training with the process holds
    out one pair, line and drug in twenty, so that all kinds of predictions are checked. They decide when to stop, how much
    the network counts and how scores become probabilities; then the process is fitted to them too.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.MTIGCN.setup_anndata(reference)
    >>> model = scdrug.model.MTIGCN(reference, hidden=32, width=32)
    >>> model.train(max_epochs=3)
    >>> model.predict(drugs={"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}, key_added=None).shape
    (120, 1)
    """

    card = MethodCard(
        name="MTIGCN",
        summary="Graph of lines and drugs with three tasks, added to a Gaussian process over both.",
        source="Liu et al. 2024, eq. 1-22; encoder: Peng et al. 2022; process: Bonilla et al. 2008",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        validates=True,
        latent=True,
        limits="On GDSC nearly all accuracy comes from the process; new drugs are hardly told apart.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        preset: str | None = None,
        predicts: str | None = None,
        tasks: str | Sequence[str] | None = None,
        process: bool | None = None,
        network: bool | None = None,
        hidden: int | None = None,
        width: int | None = None,
        alpha: float | None = None,
        weights: Mapping[str, float] | None = None,
        rank: int | None = None,
        edges: str | None = None,
        edge_dropout: float | None = None,
        node_dropout: float | None = None,
        dropout: float | None = None,
        norm: bool | None = None,
        drug_features: str | None = None,
    ) -> None:
        super().__init__(adata, registry)
        tasks = None if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)
        weights = None if weights is None else dict(weights)
        self.settings = settings_of(
            preset,
            tasks=tasks,
            process=process,
            network=network,
            hidden=hidden,
            width=width,
            alpha=alpha,
            weights=weights,
            rank=rank,
            edges=edges,
            edge_dropout=edge_dropout,
            node_dropout=node_dropout,
            dropout=dropout,
            norm=norm,
            drug_features=drug_features,
        )
        regresses = self.settings.process or "regression" in self.settings.tasks
        self.predicts = predicts or ("response" if regresses else "sensitivity")
        check_choice("predicts", self.predicts, PREDICTS)
        if self.predicts == "response" and not regresses:
            raise ValueError(
                "Classification alone predicts no response. Set `predicts='sensitivity'`, or add 'regression'."
            )
        for name in ("max_epochs", "lr", "patience"):
            setattr(self, f"_{name}", getattr(self.settings, name))
        self._lower = self.reference_ is None or self.reference_.lower_is_sensitive
        if self.predicts == "sensitivity" and self.reference_ is not None:
            self.reference_.response.update(
                measure="probability of sensitivity", unit="", direction="higher is more sensitive"
            )
        #: Share of the network in the predicted response of a known line and drug, a new line, a new drug, and both new.
        self.network_shares_: list[float] = []
        #: Slopes of distance from the threshold, squashed response and logit, and intercept, for the same four.
        self.sensitivity_slopes_: list[list[float]] = []
        self._built: Built | None = None
        self._posterior: Posterior | None = None
        self._model_summary_string = f"MTIGCN(preset={preset!r}, predicts={self.predicts!r})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ setup

    def _drug_table(self) -> pd.DataFrame | None:
        """Table of drugs of the reference, in the order of its responses."""
        table = None if self.adata is None else self.adata.uns.get(KEYS.DRUGS)
        return None if table is None else pd.DataFrame(table).reindex(self.drugs.index)

    # ------------------------------------------------------------------ prediction

    @property
    def posterior(self) -> Posterior:
        """What predicts."""
        if self._posterior is None:
            raise RuntimeError("The model was not trained: call train() first.")
        return self._posterior

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        return self.posterior.predict(expression, drugs, names)

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        if not self.settings.network:
            return super()._latent_rows(expression)
        return self.posterior.line_codes(expression, np.full(len(expression), -1))

    @checked
    def similarities(self, *, target: bool = False) -> dict[str, pd.DataFrame]:
        """Similarity of lines and of drugs that the network recovers.

        Parameters
        ----------
        target
            Return the similarities that it was given instead, NaN for drugs without a structure.

        Returns
        -------
        ``"lines"`` (lines × lines) and ``"drugs"`` (drugs × drugs), 0-1.

        Raises
        ------
        RuntimeError, ValueError
            If the model was not trained, or has no similarity task.
        """
        return similarity_tables(self, target=target)

    # ------------------------------------------------------------------ drugs that were not in training

    @property
    def _takes_unseen_drugs(self) -> bool:
        own = self._posterior is None or bool(self._posterior.module.array("known_drugs").all())
        return own and self.settings.drug_features != "table"  # a model of new drugs knows no others

    def _for_unseen(self, smiles: dict[str, str]) -> MTIGCN:
        init = {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]}
        options = {key: value for key, value in init.items() if key not in ("adata", "registry")}
        other = type(self)(registry=self.registry_, **options)
        self._hand_over(other, smiles)
        other._lower = self._lower
        other.network_shares_, other.sensitivity_slopes_ = self.network_shares_, self.sensitivity_slopes_
        other._posterior = posterior_of_unseen(self, other, smiles)
        other.module = other._posterior.module
        other.calibration_ = other._posterior.calibration(self.calibration.level)
        return other

    # ------------------------------------------------------------------ files

    #: The process compares new samples with training lines, and embeddings are of training lines.
    _holds_lines = True

    _state_schema = MTIGCNState

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.posterior.module.to_json(),
            "lines": self.posterior.lines,
            "network_shares": self.network_shares_,
            "sensitivity_slopes": self.sensitivity_slopes_,
            "lower_is_sensitive": self._lower,
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.network_shares_, self.sensitivity_slopes_ = state["network_shares"], state["sensitivity_slopes"]
        self._lower = state["lower_is_sensitive"]
        self._posterior = Posterior(self, MTIGCNModule.from_json(state["module"]), state["lines"])
        self.module = self._posterior.module

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self.posterior.lines)}

    def _wanted_arrays(self) -> dict[str, Array]:
        return with_kept(super()._wanted_arrays(), self.posterior.module.kept, KEPT)
