"""A network beside a prior: how much of a prediction is the network's, and the base of models that are made so."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from .._validate import check_choice
from ..pp._molecules import canonical_smiles
from ._arrays import Array, under_prefix, with_prefix
from ._batches import TrainingTask
from ._data import Calibration, line_positions
from ._network import NetworkModel
from ._schema import Four, LinesState, Share
from ._share import Shares, hold_out_each, reserve_for_shares, warn_of_no_share
from ._unseen import describe_asked, hand_over
from .prior._drug_kernels import describe_drugs
from .prior._process import ProcessOptions, ResponseProcess, contexts

if TYPE_CHECKING:
    from anndata import AnnData

#: Lines that stand for all where the spread of predictions is needed.
_N_TYPICAL = 200
PRIORS = ("process",)


class BlendedState(LinesState):
    """What a blended model keeps beside its arrays."""

    shares: Four[Share]
    #: What the prior was told of drugs, by name; `None` without a prior.
    drug_features: list[str] | None
    #: Whether the drugs are others than those of the training.
    new_drugs: bool
    network: dict[str, Any]


class BlendedModel(NetworkModel):
    """Base of networks on lines × drugs that can stand on a prior.

    A prediction is ``prior + share · (network − prior)``; without a prior it is the network's. The share is chosen for known
    pairs, new lines, new drugs and both, on responses that neither was fitted to and that did not stop training; then the
    prior is fitted to all responses.

    A subclass brings `_make_module`, `_phases`, :meth:`_network_rows`, and :meth:`_with_drugs` where it takes new drugs.
    """

    #: Priors that the model knows.
    _priors: ClassVar[tuple[str, ...]] = PRIORS
    _process_options: ClassVar[ProcessOptions] = ProcessOptions()
    #: What the prior is: a :class:`ResponseProcess`, or another class with the same methods.
    _prior_class: Any = ResponseProcess
    _validates_on_new_drugs = _needs_structures = True
    _state_schema: ClassVar[Any] = BlendedState

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        prior: str | None = None,
        drug_kernel: str = "tanimoto",
    ) -> None:
        super().__init__(adata, registry)
        if prior is not None:
            check_choice("prior", prior, self._priors)
        #: What the network stands on.
        self.prior = prior
        self._drug_kernel = drug_kernel
        #: The fitted prior; `None` without one.
        self.prior_: Any = None
        #: Share of the network in predictions, by what is known of a pair; all of them without a prior.
        self.shares_ = Shares.all(float(prior is None))
        self._lines: dict[str, int] = {}
        self._new_drugs = False
        self._task: TrainingTask | None = None
        self._told: tuple[str, ...] | None = None

    # ------------------------------------------------------------------ what a subclass brings

    @abstractmethod
    def _network_rows(
        self, expression: np.ndarray, lines: np.ndarray, drugs: np.ndarray, inputs: np.ndarray | None = None
    ) -> np.ndarray:
        """What the network alone predicts (rows × drugs, in the unit of the response).

        `lines` are positions among the training lines, −1 for new ones; `inputs` are rows of what `_sample_inputs` returned.
        """

    def _with_drugs(self, other: Self, drugs: pd.DataFrame) -> None:
        """Give `other` this model's network for drugs that were not in training, as a table with the column `smiles`."""
        raise NotImplementedError(
            f"The card of {type(self).__name__} says that it predicts unseen drugs, but it has no `_with_drugs`."
        )

    def _network_state(self) -> dict[str, Any]:
        """What the network keeps beside its arrays, in JSON types."""
        return {}

    def _load_network(self, state: dict[str, Any]) -> None:
        """Make `module` for what :meth:`_network_state` returned, to load weights into."""

    def _prior_features(self, expression: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        """What the prior compares samples by (rows × features)."""
        return expression

    # ------------------------------------------------------------------ training

    def _training_task(self, validation: Any, *, early_stopping: bool, seed: int) -> TrainingTask:
        if self.prior is not None and validation is None and early_stopping:
            _, response = self._training_arrays()
            marked = hold_out_each(np.isfinite(response), self._known_structures, seed=seed)
            validation = pd.DataFrame(marked, index=self._training_names(), columns=self.drugs.index)
        task = super()._training_task(validation, early_stopping=early_stopping, seed=seed)
        self._task = task if self.prior is None else reserve_for_shares(task, seed=seed)
        return self._task

    @property
    def _known_structures(self) -> list[str | None]:
        """Canonical SMILES of the drugs, `None` for those whose structure is not known."""
        return [canonical_smiles(text) for text in self.drugs["smiles"]]

    def _described_drugs(self) -> dict[str, np.ndarray] | None:
        """What the prior compares the drugs by."""
        return describe_drugs(self.drugs, self._drug_kernel) if any(self._known_structures) else None

    def _outcomes(self, task: TrainingTask, response: np.ndarray) -> np.ndarray:
        """What held-out responses say of predictions, in the unit of these (lines × drugs, NaN elsewhere)."""
        return response

    def _fit_prior(self, features: np.ndarray, response: np.ndarray, earlier: Any = None) -> Any:
        """Fit the prior; what `earlier`, which has not seen the held-out responses, chose by them is kept."""
        return ResponseProcess.fit(features, response, self._described_drugs(), self._process_options)

    def _earlier_prior(self, task: TrainingTask, features: np.ndarray) -> Any:
        """Fit a prior without held-out responses; it may make choices by those that decide when to stop."""
        return self._fit_prior(features, task.train_response)

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        task, inputs = self._task, None if self.adata is None else self._sample_inputs(self.adata)
        assert task is not None
        self._lines = {str(name): row for row, name in enumerate(task.lines)}
        self.shares_ = Shares.all(float(self.prior is None))
        if self.prior is not None:
            features, earlier = self._prior_features(expression, inputs), None
            if np.isfinite(task.reserved_response).any():
                earlier = self._earlier_prior(task, features)
                self.shares_ = self._choose_shares(task, earlier, features, inputs)
            else:
                warn_of_no_share(type(self).__name__)
            self.prior_ = self._fit_prior(features, response, earlier)
        super()._finish_training(expression, response)
        self._task = None  # it holds the training data

    def _choose_shares(self, task: TrainingTask, prior: Any, features: np.ndarray, inputs: np.ndarray | None) -> Shares:
        """Compare the network with a prior that has not seen the held-out responses either."""
        trained = np.isfinite(task.train_response)
        observed, drugs = self._outcomes(task, task.reserved_response), np.arange(trained.shape[1])
        rows = np.flatnonzero(np.isfinite(observed).any(axis=1))
        lines = np.where(trained.any(axis=1)[rows], rows, -1)
        part = None if inputs is None else inputs[rows]
        return Shares.choose(
            prior.predict(features[rows], lines),
            self._network_rows(task.expression[rows], lines, drugs, part),
            observed[rows],
            contexts(lines >= 0, trained.any(axis=0)),
        )

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        drugs, new = np.arange(response.shape[1]), np.full(len(expression), -1)
        inputs = self._sample_inputs(self.adata) if self.adata is not None else None
        if self.prior_ is None:
            return np.asarray(self._network_rows(expression, new, drugs, inputs), dtype=np.float64), False
        left_out, share = self.prior_.left_out, self.shares_.new_line
        if share == 0:
            return left_out, True
        return left_out + share * (self._network_rows(expression, new, drugs, inputs) - left_out), False

    # ------------------------------------------------------------------ prediction

    def _predict_rows(
        self,
        expression: np.ndarray,
        drugs: np.ndarray,
        names: np.ndarray | None = None,
        inputs: np.ndarray | None = None,
    ) -> np.ndarray:
        drugs, lines = np.asarray(drugs), line_positions(self._lines, names, len(expression))
        if self.prior_ is None:
            return self._network_rows(expression, lines, drugs, inputs).astype(np.float32)
        prior = self.prior_.predict(self._prior_features(expression, inputs), lines, drugs)
        share = self._pair_shares(lines, len(drugs))
        if share.any():
            prior = prior + share * (self._network_rows(expression, lines, drugs, inputs) - prior)
        return prior.astype(np.float32)

    def _pair_shares(self, lines: np.ndarray, n_drugs: int) -> np.ndarray:
        known = lines >= 0 if self.prior_ is None else self.prior_.is_known(lines)
        return self.shares_.of(contexts(known, np.full(n_drugs, not self._new_drugs)))

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        share = self._pair_shares(line_positions(self._lines, names, n), len(drugs))
        return float(share.mean()) if share.size else 0.0

    def _part(self, part: str) -> Self:
        """The network or the prior alone."""
        check_choice("part", part, ("network", "prior"))
        if self.prior_ is None and part == "prior":
            raise ValueError(
                f"This {type(self).__name__} has no prior: all of its predictions are the network's. Train one with `prior='process'`."
            )
        alone = copy.copy(self)
        alone.shares_ = Shares.all(float(part == "network"))
        return alone

    # ------------------------------------------------------------------ drugs that were not in training

    @property
    def _takes_unseen_drugs(self) -> bool:
        able = self.card.unseen_drugs and not self._new_drugs  # a model of new drugs knows no others
        return able and (self.prior_ is None or self.prior_.new_drugs is not None)

    def _for_unseen(self, drugs: pd.DataFrame) -> Self:
        init = {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]}
        other = type(self)(registry=self.registry_, **{k: v for k, v in init.items() if k not in ("adata", "registry")})
        hand_over(self, other, drugs)
        other.shares_, other._lines, other._new_drugs = self.shares_, self._lines, True
        if self.prior_ is not None:
            other.prior_ = self.prior_.for_drugs(describe_asked(self.drugs, drugs, self._prior_features_of_drugs))
        self._with_drugs(other, drugs)
        typical = other._typical_predictions(np.arange(len(drugs)))
        other.calibration_ = Calibration.fit(typical, level=self.calibration.level)
        return other

    def _typical_predictions(self, drugs: np.ndarray) -> np.ndarray:
        """Predictions for lines as they come: training lines where they are kept, each taken as new, else draws from their profile."""
        lines = self.profile.draw(_N_TYPICAL, seed=0) if self.prior_ is None else self.prior_.lines
        step = max(len(lines) // _N_TYPICAL, 1)
        return np.asarray(self._predict_rows(lines[::step], drugs), dtype=np.float64)

    # ------------------------------------------------------------------ files

    @property
    def _holds_lines(self) -> bool:  # type: ignore[override]
        return self.prior is not None

    @property
    def _prior_features_of_drugs(self) -> tuple[str, ...]:
        return () if self.prior_.new_drugs is None else tuple(self.prior_.new_drugs.features)

    def _state(self) -> dict[str, Any]:
        return {
            "lines": list(self._lines),
            "shares": self.shares_.to_json(),
            "drug_features": None if self.prior_ is None else list(self._prior_features_of_drugs),
            "new_drugs": self._new_drugs,
            "network": self._network_state(),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        if (state["drug_features"] is None) != (self.prior is None):
            raise ValueError("`drug_features` and `prior` stand together")
        self._lines = {name: row for row, name in enumerate(state["lines"])}
        self.shares_ = Shares(*state["shares"])
        self._new_drugs = state["new_drugs"]
        self._told = None if state["drug_features"] is None else tuple(state["drug_features"])
        self._load_network(state["network"])

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self._lines)}

    def _wanted_arrays(self) -> dict[str, Array]:
        wanted = with_prefix("network.", super()._wanted_arrays())
        if self._told is not None:
            arrays = self._prior_class.wanted_arrays(self._told, trained=not self._new_drugs)
            return wanted | with_prefix("prior.", arrays)
        return wanted

    def _module_arrays(self) -> dict[str, np.ndarray]:
        prior = {} if self.prior_ is None else self.prior_.to_arrays()
        return with_prefix("network.", super()._module_arrays()) | with_prefix("prior.", prior)

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        super()._load_module_arrays(under_prefix("network.", arrays))
        if self._told is not None:
            self.prior_ = self._prior_class.from_arrays(under_prefix("prior.", arrays), self._process_options)
