"""MTIGCN: lines and drugs as nodes of one graph, sensitivity, response and similarity as its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from ..._arguments import checked
from ..._constants import KEYS
from ..._former import Former, formerly
from ..._validate import check_choice
from .._batches import TrainingTask
from .._blend import BlendedModel
from .._card import MethodCard
from .._options import PhaseOptions
from .._plan import Phase
from ..prior._drug_kernels import STRUCTURES, drug_features
from ..prior._process import ResponseProcess
from ._features import network_features
from ._labels import Labelling
from ._module import MTIGCNModule, MTIGCNNet, MTIGCNState, NetConfig
from ._sensitivity import DEFAULT_SLOPES, SensitivityPrior
from ._settings import DRUG_KERNELS, TASK_OF, settings_of
from ._training import GraphData, prepare, similarity_targets, training_phase, warn_of_gaps

if TYPE_CHECKING:
    from anndata import AnnData


class MTIGCN(BlendedModel):
    """Multi-task graph network on the bipartite graph of cell lines and the drugs that they are sensitive to.

    Lines (expression) and drugs (structure) are nodes; sensitive training pairs are edges. One encoder (NIHGCN) feeds
    three tasks: sensitive or resistant, the response itself, and the similarities of lines and of drugs. Lines, cells and
    drugs that were not in training are nodes without edges. By default the network stands alone, smaller than the published one;
    ``prior="process"`` lets it stand on a Gaussian process over lines and drugs, and held-out pairs decide how much it counts.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on. A column ``threshold`` of ``uns["drugs"]`` says below
        which response a line is sensitive to a drug; without it the 12 % most sensitive lines are.
    registry
        Registry of an earlier setup, for loading without data.
    preset
        ``"default"``; ``"mtigcn"``: Liu et al. 2024, with scales 8 and 15 on the correlations as its code has them, and heads of their own
        for both similarities. ``"mtigcn_released"``: what the released code computes. ``"nihgcn"``: classification alone.
        Other arguments replace what the preset says.
    prior
        ``"process"`` for the Gaussian process, which does nearly all of the work on GDSC; none if omitted.
    target
        What is predicted: ``"response"`` in the unit of the reference, or ``"sensitivity"``, a probability; by default the former if it can.
    tasks
        Of ``"classification"``, ``"regression"`` and ``"similarity"``.
    n_hidden, n_latent
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
        and 1 in the column ``fingerprint`` of ``uns["drugs"]``, with which no unseen drugs can be predicted. By default
        ``"auto"``: both where MiniMol is installed, else Morgan's; presets of the paper take Morgan's. The process
        compares new drugs by the same, and by targets and pathway where these are known.

    Notes
    -----
    An epoch is ten steps over the whole graph. Held-out pairs stop training by the error of what is predicted: squared error of
    responses, or the share of sensitive-resistant pairs in the wrong order. With the process, and unless `validation` is given, one pair, line and drug in
    twenty are held out, so that all kinds of predictions are checked. Half of them decide when to stop and how scores of the process
    become probabilities, the other half how much the network counts; then the process is fitted to them too.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.MTIGCN.setup_anndata(reference)
    >>> model = scdrug.model.MTIGCN(reference, n_hidden=32, n_latent=32)
    >>> model.train(max_epochs=3)
    >>> model.predict(drugs={"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}, key_added=None).shape
    (120, 1)
    """

    card = MethodCard(
        name="MTIGCN",
        summary="Graph network of lines and drugs with three tasks; alone, or on a Gaussian process over both.",
        source="Liu et al. 2024, eq. 1-22; encoder: Peng et al. 2022; process: Bonilla et al. 2008",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        validates=True,
        latent=True,
        limits=(
            "On GDSC the network alone is behind matrix completion; beside the process held-out pairs give it next to nothing of a "
            "prediction. New drugs are hardly told apart."
        ),
    )

    _state_schema: ClassVar[Any] = MTIGCNState
    _without_effect: ClassVar[Mapping[str, str]] = {"batch_size": "each step sees the whole graph. Leave it out."}
    #: Embeddings and scores are those of training lines.
    _holds_lines = True

    @checked
    @formerly(predicts="target", hidden="n_hidden", width="n_latent", preset=Former("preset", {None: "default"}))
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        preset: str = "default",
        prior: str | None = None,
        target: str | None = None,
        tasks: str | Sequence[str] | None = None,
        n_hidden: int | None = None,
        n_latent: int | None = None,
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
        tasks = None if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)
        weights = None if weights is None else dict(weights)
        self.settings = settings_of(
            preset, tasks=tasks, hidden=n_hidden, width=n_latent, alpha=alpha, weights=weights, rank=rank, edges=edges, norm=norm,
            edge_dropout=edge_dropout, node_dropout=node_dropout, dropout=dropout, drug_features=drug_features,
        )  # fmt: skip
        kernel = DRUG_KERNELS.get(self.settings.drug_features, "tanimoto")
        super().__init__(adata, registry, prior=prior, drug_kernel=kernel)
        self.target = target or next(name for name, task in TASK_OF.items() if task in self.settings.tasks)
        check_choice("target", self.target, tuple(TASK_OF))
        if TASK_OF[self.target] not in self.settings.tasks:
            raise ValueError(
                f"`target={self.target!r}` needs the task {TASK_OF[self.target]!r}; found {self.settings.tasks}. Add it to "
                f"`tasks`, or set `target={'response' if self.target == 'sensitivity' else 'sensitivity'!r}`."
            )
        self._take_defaults(self.settings)
        self._lower = self.reference_ is None or self.reference_.lower_is_sensitive
        self._prior_class = SensitivityPrior if self.target == "sensitivity" else ResponseProcess
        if self.target == "sensitivity" and self.reference_ is not None:
            self.reference_.response.update(
                measure="probability of sensitivity", unit="", direction="higher is more sensitive"
            )
        #: What the network is trained on, and what it is validated on, while it is.
        self._graphs: list[GraphData | None] = []
        self._model_summary_string = f"MTIGCN(preset={preset!r}, prior={prior!r}, target={self.target!r})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ training

    @property
    def _labelling(self) -> Labelling:
        """What decides which responses are sensitive."""
        return Labelling(self._drug_table(), self.drugs.index, self._lower)

    def _drug_table(self) -> pd.DataFrame | None:
        """Table of drugs of the reference, in the order of its responses."""
        table = None if self.adata is None else self.adata.uns.get(KEYS.DRUGS)
        return None if table is None else pd.DataFrame(table).reindex(self.drugs.index)

    def _make_module(self, task: TrainingTask) -> MTIGCNModule:
        features = network_features(self.drugs["smiles"], self._drug_table(), self.settings.drug_features)
        warn_of_gaps(task, features.usable, self.drugs["name"].to_numpy())
        module, *self._graphs = prepare(task, features, self._labelling, self.settings)
        return module

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase]:
        watched = TASK_OF[self.target]
        return [training_phase(self.module.net, *self._graphs, self.settings, options, predicts=watched)]

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        self.module.fill_codes(*self._graphs[0].to(self.module.loadings.device))
        super()._finish_training(expression, response)
        self._graphs = []  # they hold the training data

    # ------------------------------------------------------------------ the prior

    def _outcomes(self, task: TrainingTask, response: np.ndarray) -> np.ndarray:
        return response if self.target == "response" else self._labelling.labels(response, task.response)

    def _fit_prior(self, features: np.ndarray, response: np.ndarray, earlier: Any = None) -> Any:
        if self.target == "response":
            return super()._fit_prior(features, response, earlier)
        slopes = DEFAULT_SLOPES if earlier is None else earlier.slopes
        drugs, options = self._described_drugs(), self._process_options
        return SensitivityPrior.fit(features, response, drugs, options, labelling=self._labelling, slopes=slopes)

    def _earlier_prior(self, task: TrainingTask, features: np.ndarray) -> Any:
        prior = super()._earlier_prior(task, features)
        if self.target == "response":
            return prior
        return prior.calibrated(features, self._outcomes(task, task.validation_response))

    @property
    def _computes_features(self) -> bool:
        """Whether features of drugs are computed from structures, and so can be of any drug."""
        return self.settings.drug_features in DRUG_KERNELS

    @property
    def _known_structures(self) -> list[str | None]:
        return super()._known_structures if self._computes_features else [None] * len(self.drugs)

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        predicted, left_out = super()._reference_predictions(expression, response)
        # a probability has no error in the unit of responses
        return predicted, left_out and self.target == "response"

    # ------------------------------------------------------------------ prediction

    def _network_rows(
        self, expression: np.ndarray, lines: np.ndarray, drugs: np.ndarray, inputs: np.ndarray | None = None
    ) -> np.ndarray:
        predict = self.module.responses if self.target == "response" else self.module.probabilities
        return self._evaluate(predict, np.asarray(expression, dtype=np.float32), lines, drugs)

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        new = np.full(len(expression), -1)
        return self._evaluate(self.module.embed, np.asarray(expression, dtype=np.float32), new)

    @checked
    @formerly(target="given")
    def similarities(self, *, given: bool = False) -> dict[str, pd.DataFrame]:
        """Similarity of lines and of drugs that the network recovers.

        Parameters
        ----------
        given
            Return the similarities that it was given instead, NaN for drugs without a structure.

        Returns
        -------
        ``"lines"`` (lines × lines) and ``"drugs"`` (drugs × drugs), 0-1.

        Raises
        ------
        RuntimeError, ValueError
            If the model was not trained, or has no similarity task.
        """
        self._check_if_trained(warn=False)
        if not self.settings.has_similarity:
            raise ValueError("This model has no similarity task. Train one with `tasks` that include 'similarity'.")
        module = self.module
        scores = module.line_scores.cpu().numpy()
        parts = similarity_targets(scores, module.drug_features, self.settings) if given else module.similarities()
        names = {"lines": list(self._lines), "drugs": self.drugs.index}
        return {key: pd.DataFrame(part, names[key], names[key]) for key, part in zip(names, parts, strict=True)}

    # ------------------------------------------------------------------ drugs that were not in training, files

    @property
    def _takes_unseen_drugs(self) -> bool:
        return super()._takes_unseen_drugs and self._computes_features

    def _with_drugs(self, other: MTIGCN, drugs: pd.DataFrame) -> None:
        other.module = self.module.for_drugs(drug_features(drugs["smiles"], self._drug_kernel))

    def _network_state(self) -> dict[str, Any]:
        return {"net": self.module.net.config.model_dump(), "n_structures": self.module.n_structures}

    def _load_network(self, state: dict[str, Any]) -> None:
        if self._computes_features:  # what the file was trained with, whatever is installed here
            kinds = set(state["net"]["drug_features"])
            name = next(key for key, kernel in DRUG_KERNELS.items() if set(STRUCTURES[kernel]) == kinds)
            self.settings, self._drug_kernel = replace(self.settings, drug_features=name), DRUG_KERNELS[name]
        net, sizes = MTIGCNNet(NetConfig(**state["net"])), (len(self._lines), len(self.drugs))
        self.module = MTIGCNModule(net, n_lines=sizes[0], n_drugs=sizes[1], n_structures=state["n_structures"])
