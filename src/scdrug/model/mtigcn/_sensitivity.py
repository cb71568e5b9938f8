"""The probability that a line is sensitive, in closed form: two processes, and a logistic regression on what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from .._arrays import Array, under_prefix, with_prefix
from ..prior._kernels import apply_kernel
from ..prior._new_drugs import NewDrugs
from ..prior._process import Context, ProcessOptions, ResponseProcess, contexts
from ._labels import Labelling, response_moments

#: Steepness of the squashed response around the drug's threshold.
_STEEPNESS = 1.5
#: Squashed responses are noisier, and lines that respond alike teach nothing more of them.
_SQUASHED = ProcessOptions(noise=0.3, response_share=0.0, drug_noise=False)
#: Fewest held-out labels of either class that decide.
_FEWEST = 20
#: Slopes of both scores and intercept for each context, where nothing decides.
DEFAULT_SLOPES = np.array([[1.5, 1.5, 0.0]] * len(Context))
#: What both processes have in common.
_SHARED = ("lines", "n_drugs", "n_lines", "fingerprints", "minimol", "targets", "pathway")


@dataclass(frozen=True, eq=False)
class SensitivityPrior:
    """Probability of sensitivity of any pair.

    A process over responses says how far from the drug's threshold a response is expected. Another, over responses that are squashed
    around their thresholds, leaves out what happens far from them. Both scores go through a logistic regression, one for each
    context of a pair (see :class:`Context`). It offers what :class:`ResponseProcess` does.
    """

    response: ResponseProcess
    squashed: ResponseProcess
    #: Response at which a line counts as sensitive, and standard deviation (drugs).
    thresholds: np.ndarray
    spread: np.ndarray
    #: Whether low responses are sensitive.
    lower: bool
    #: Slopes of both scores, and intercept (contexts × 3).
    slopes: np.ndarray

    # ------------------------------------------------------------------ fit

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        response: np.ndarray,
        drugs: dict[str, np.ndarray] | None,
        options: ProcessOptions,
        *,
        labelling: Labelling,
        slopes: np.ndarray = DEFAULT_SLOPES,
    ) -> SensitivityPrior:
        """Fit both processes.

        Parameters
        ----------
        features, response, drugs, options
            As :meth:`ResponseProcess.fit` takes them.
        labelling
            Which responses are sensitive. Drugs without a threshold, and drugs without any response, get one as far from their
            mean as is typical.
        slopes
            Of the logistic regressions; see :meth:`calibrated`.
        """
        process = ResponseProcess.fit(features, response, drugs, options)
        spread, thresholds, lower = response_moments(response).scale, labelling.thresholds(response), labelling.lower
        known = np.isfinite(response).any(axis=0) & np.isfinite(thresholds)
        mean = process.fitted.mean(axis=0)
        middle = np.where(known, thresholds, mean + _offset(mean[known], thresholds[known], spread[known]) * spread)
        squashed = np.tanh(_STEEPNESS * _distance(response, middle, spread, lower))
        return cls(process, ResponseProcess.fit(features, squashed, drugs, _SQUASHED), middle, spread, lower, slopes)

    def calibrated(self, features: np.ndarray, labels: np.ndarray) -> SensitivityPrior:
        """The same with slopes that fit held-out labels of the training lines.

        Parameters
        ----------
        features
            Lines × features.
        labels
            Lines × drugs: 1 sensitive, 0 resistant, NaN elsewhere.
        """
        lines = np.arange(len(labels))
        scores = self._scores(features, lines, np.arange(labels.shape[1]))
        return replace(self, slopes=fit_slopes(*scores, labels, self._contexts(self.is_known(lines))))

    # ------------------------------------------------------------------ prediction

    def predict(
        self, features: np.ndarray, lines: np.ndarray | None = None, drugs: np.ndarray | None = None
    ) -> np.ndarray:
        """Probability of sensitivity (rows × drugs, 0-1); arguments are those of :meth:`ResponseProcess.predict`."""
        lines = np.full(len(features), -1) if lines is None else np.asarray(lines)
        drugs = np.arange(len(self.thresholds)) if drugs is None else np.asarray(drugs)
        context = self._contexts(self.is_known(lines))[:, drugs]
        return _probability(*self._scores(features, lines, drugs), self.slopes, context)

    def is_known(self, lines: np.ndarray) -> np.ndarray:
        """Which rows, by position among the training lines, have responses of their own (bool)."""
        return self.response.is_known(lines)

    @property
    def left_out(self) -> np.ndarray | None:
        """Prediction of each training line without its own responses (lines × drugs); `None` after loading."""
        if self.response.left_out is None or self.squashed.left_out is None:
            return None
        distance = _distance(self.response.left_out, self.thresholds, self.spread, self.lower)
        context = self._contexts(np.zeros(len(distance), dtype=bool))
        return _probability(distance, self.squashed.left_out, self.slopes, context)

    def _contexts(self, known_lines: np.ndarray) -> np.ndarray:
        n_lines = self.response.n_lines
        return contexts(known_lines, np.zeros(len(self.thresholds), dtype=bool) if n_lines is None else n_lines > 0)

    def _scores(self, features: np.ndarray, lines: np.ndarray, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance from the threshold in standard deviations, and squashed response (rows × drugs)."""
        known = self.is_known(lines)
        cross = None  # both processes compare new lines by the same kernel
        if not known.all():
            cross = apply_kernel(self.response.kernel, features[~known], self.response.lines)

        def mean(process: ResponseProcess) -> np.ndarray:
            out = process.fitted[np.ix_(lines, drugs)].astype(np.float64)
            if cross is not None:
                out[~known] = cross @ process.alpha[:, drugs] + process.intercept[drugs]
            return out

        response = mean(self.response)
        return _distance(response, self.thresholds[drugs], self.spread[drugs], self.lower), mean(self.squashed)

    # ------------------------------------------------------------------ what else a blended model asks of a prior

    @property
    def lines(self) -> np.ndarray:
        """Features of the training lines (lines × features)."""
        return self.response.lines

    @property
    def new_drugs(self) -> NewDrugs | None:
        """What predicts new drugs; `None` where nothing is known of drugs."""
        return self.response.new_drugs

    def for_drugs(self, drugs: dict[str, np.ndarray]) -> SensitivityPrior:
        """The prior of drugs that were not in training; see :meth:`ResponseProcess.for_drugs`."""
        response, squashed = self.response.for_drugs(drugs), self.squashed.for_drugs(drugs)
        trained = self.response.fitted.mean(axis=0)
        mean = response.fitted.mean(axis=0)
        spread = np.full(len(mean), np.median(self.spread))
        middle = mean + _offset(trained, self.thresholds, self.spread) * spread
        return replace(self, response=response, squashed=squashed, thresholds=middle, spread=spread)

    # ------------------------------------------------------------------ files

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What predicts, as arrays by name."""
        squashed = {name: value for name, value in self.squashed.to_arrays().items() if name not in _SHARED}
        own = {"thresholds": self.thresholds, "spread": self.spread, "slopes": self.slopes}
        return (
            with_prefix("response.", self.response.to_arrays())
            | with_prefix("squashed.", squashed)
            | {name: value.astype(np.float32) for name, value in own.items()}
            | {"lower": np.array([self.lower], dtype=np.uint8)}
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], options: ProcessOptions) -> SensitivityPrior:
        """Take back what :meth:`to_arrays` returned."""
        response = under_prefix("response.", arrays)
        squashed = {name: response[name] for name in _SHARED if name in response} | under_prefix("squashed.", arrays)
        return cls(
            ResponseProcess.from_arrays(response, options),
            ResponseProcess.from_arrays(squashed, _SQUASHED),
            *(arrays[name] for name in ("thresholds", "spread")),
            lower=bool(arrays["lower"][0]),
            slopes=arrays["slopes"],
        )

    @staticmethod
    def wanted_arrays(kinds: tuple[str, ...] = (), *, trained: bool = True) -> dict[str, Array]:
        """What :meth:`to_arrays` returns, as arrays of a file; see :meth:`ResponseProcess.wanted_arrays`."""
        process = ResponseProcess.wanted_arrays(kinds, trained=trained)
        own = {name: array for name, array in process.items() if name not in _SHARED}
        return (
            with_prefix("response.", process)
            | with_prefix("squashed.", own)
            | {"thresholds": Array(("drugs",)), "spread": Array(("drugs",)), "lower": Array((1,), "uint8")}
            | {"slopes": Array(DEFAULT_SLOPES.shape)}
        )


def fit_slopes(distance: np.ndarray, squashed: np.ndarray, labels: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Logistic regression of sensitivity on scores, for each context.

    Parameters
    ----------
    distance, squashed
        Scores (lines × drugs), larger for more sensitive pairs.
    labels
        Labels of held-out pairs (lines × drugs: 1, 0, NaN elsewhere).
    context
        Context of each pair (lines × drugs).

    Returns
    -------
    Two slopes, neither negative, and the intercept (contexts × 3). A context with fewer than 20 pairs of either class gets
    those of all pairs together, or fixed ones.
    """
    labelled = np.isfinite(labels)
    scores = np.stack([distance, squashed, np.ones_like(distance)], axis=-1)

    def fit(chosen: np.ndarray) -> np.ndarray | None:
        return _logistic(scores[chosen & labelled], labels[chosen & labelled])

    everything = fit(labelled)
    found = [fit(context == code) for code in Context]
    fallback = DEFAULT_SLOPES if everything is None else [everything] * len(Context)
    return np.array([other if own is None else own for own, other in zip(found, fallback, strict=True)])


def _logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    if min(y.sum(), (1 - y).sum()) < _FEWEST:
        return None

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = x @ beta, beta * [1.0, 1.0, 0.0]
        penalty = 1.0 / len(y)  # as much as one pair, so that separable data have an optimum
        error = np.mean(np.logaddexp(0, value) - y * value) + penalty * slopes @ slopes / 2
        return float(error), x.T @ (expit(value) - y) / len(y) + penalty * slopes

    bounds = [(0, None), (0, None), (None, None)]
    return minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B").x


def _distance(response: np.ndarray, thresholds: np.ndarray, spread: np.ndarray, lower: bool) -> np.ndarray:
    """How far beyond the threshold a response lies, in standard deviations of the drug; positive if sensitive."""
    return (thresholds - response if lower else response - thresholds) / spread


def _offset(mean: np.ndarray, thresholds: np.ndarray, spread: np.ndarray) -> float:
    """How far from the mean the threshold of the typical drug lies, in standard deviations."""
    return float(np.median((thresholds - mean) / spread)) if len(mean) else 0.0


def _probability(distance: np.ndarray, squashed: np.ndarray, slopes: np.ndarray, context: np.ndarray) -> np.ndarray:
    beta = slopes[context]
    return expit(beta[..., 0] * distance + beta[..., 1] * squashed + beta[..., 2])
