"""A Gaussian process over lines × drugs: what is expected of any pair, in closed form, before any network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from .._arrays import Array
from ._coupled import ProcessOptions, fit_coupled, posterior_variance
from ._decomposition import KernelDecomposition, decompose_kernel
from ._drug_kernels import present
from ._kernels import KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ._new_drugs import MIN_DRUGS, NewDrugs, storable
from ._ridge import primal_weights

#: Stands for no response at all.
_ALMOST_NONE = 1e-6


class Context(IntEnum):
    """What is known of a pair when it is predicted."""

    KNOWN = 0
    NEW_LINE = 1
    NEW_DRUG = 2
    NEW_BOTH = 3


def contexts(known_lines: np.ndarray, known_drugs: np.ndarray) -> np.ndarray:
    """Context of each pair (lines × drugs, codes of :class:`Context`).

    Parameters
    ----------
    known_lines, known_drugs
        Which lines and drugs were trained on (bool).
    """
    return np.where(known_lines, 0, Context.NEW_LINE)[:, None] + np.where(known_drugs, 0, Context.NEW_DRUG)[None, :]


@dataclass(frozen=True, eq=False)
class ResponseProcess:
    """A Gaussian process over lines × drugs, fitted to the measured pairs.

    Known lines and drugs are predicted from all other responses of either, new lines from similar expression, and new drugs
    from drugs of similar structure and mechanism. See :func:`fit_coupled` for the process itself.
    """

    #: Features of the training lines, which new ones are compared with (lines × features).
    lines: np.ndarray
    #: Responses of each; lines without any are predicted like new ones (lines).
    n_drugs: np.ndarray
    #: Dual weights and means: a new line is predicted as ``similarity @ alpha + intercept`` (lines × drugs; drugs).
    alpha: np.ndarray
    intercept: np.ndarray
    #: Posterior mean of every pair of the training lines (lines × drugs).
    fitted: np.ndarray
    options: ProcessOptions
    #: Unit and covariance of the drugs, and responses of each; `None` for drugs that were not in training.
    scale: np.ndarray | None = None
    covariance: np.ndarray | None = None
    n_lines: np.ndarray | None = None
    #: What predicts new drugs; `None` where nothing is known of drugs.
    new_drugs: NewDrugs | None = None
    #: Prediction of each training line without its own responses (lines × drugs); `None` after loading.
    left_out: np.ndarray | None = field(default=None, repr=False)

    # ------------------------------------------------------------------ fit

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        response: np.ndarray,
        drugs: dict[str, np.ndarray] | None = None,
        options: ProcessOptions = ProcessOptions(),
    ) -> ResponseProcess:
        """Fit the process.

        Parameters
        ----------
        features
            Expression, or an embedding, of the lines (lines × features).
        response
            Lines × drugs, NaN where not measured. A drug without any response is predicted from its structure and mechanism, or
            as the typical drug if nothing is known of it.
        drugs
            What is known of the drugs, see :func:`~scdrug.model.prior._drug_kernels.describe_drugs`; without it no new drug is told
            from another.
        options
            How lines and drugs are coupled.

        Returns
        -------
        The posterior.

        Raises
        ------
        ValueError
            If nothing was measured, shapes disagree, or all lines are alike.
        """
        response = np.asarray(response, dtype=np.float64)
        seen = np.isfinite(response).any(axis=0)
        if not seen.any():
            raise ValueError(
                "No response was measured, so there is nothing to fit. Pass lines × drugs with some values."
            )
        kernel, matrix = fit_kernel(features, KERNELS[options.kernel])
        lines = decompose_kernel(matrix)
        process = cls._fit_seen(features, response[:, seen], lines, options)
        if drugs is not None:
            known = {name: part[seen] for name, part in drugs.items()}
            process = replace(process, new_drugs=NewDrugs.fit(process.fitted, known, ridge=options.drug_ridge))
        vars(process)["kernel"] = kernel
        return _over_all_drugs(process, seen, drugs)

    @classmethod
    def _fit_seen(
        cls, features: np.ndarray, response: np.ndarray, lines: KernelDecomposition, options: ProcessOptions
    ) -> ResponseProcess:
        fit = fit_coupled(lines, response, options)
        measured = np.isfinite(response)
        fresh = ~measured.any(axis=1)
        fitted = fit.fitted
        fitted[fresh] = lines.kernel[fresh] @ fit.alpha + fit.intercept
        return cls(
            features,
            measured.sum(axis=1),
            fit.alpha,
            fit.intercept,
            fitted,
            options,
            fit.scale,
            fit.covariance,
            measured.sum(axis=0),
            left_out=fit.left_out,
        )

    def _like(self, other: ResponseProcess) -> ResponseProcess:
        """The same with the kernel of another process on the same lines."""
        if "kernel" in vars(other):
            vars(self)["kernel"] = other.kernel
        return self

    @cached_property
    def kernel(self) -> ExpressionKernel:
        """What compares new lines with the training lines."""
        return fit_kernel(self.lines, KERNELS[self.options.kernel])[0]

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        features: np.ndarray,
        lines: np.ndarray | None = None,
        drugs: np.ndarray | None = None,
        *,
        variance: bool = False,
    ) -> Any:
        """Predict pairs.

        Parameters
        ----------
        features
            Rows × features, as in training.
        lines
            Position of each row among the training lines, −1 for a new one; all new if omitted.
        drugs
            Positions of drugs; all if omitted.
        variance
            Also return the variance of the mean, in the squared unit of the response and without the noise of a
            measurement. It is exact where nothing is missing; gaps count as if those of a line and of a drug were spread
            evenly over the other's pairs.

        Returns
        -------
        Posterior mean (rows × drugs), and its variance if asked for.

        Raises
        ------
        ValueError
            If the variance of drugs is asked for that were not in training.
        """
        lines = np.full(len(features), -1) if lines is None else np.asarray(lines)
        drugs = np.arange(len(self.intercept)) if drugs is None else np.asarray(drugs)
        known = self.is_known(lines)
        out = self.fitted[np.ix_(lines, drugs)].astype(np.float64)
        cross = apply_kernel(self.kernel, features[~known], self.lines) if not known.all() else None
        if cross is not None:
            out[~known] = cross @ self.alpha[:, drugs] + self.intercept[drugs]
        return (out, self._variance(cross, lines, known, drugs)) if variance else out

    def is_known(self, lines: np.ndarray) -> np.ndarray:
        """Which rows, by position among the training lines, have responses of their own (bool)."""
        return np.append(self.n_drugs > 0, False)[lines]

    def _variance(
        self, cross: np.ndarray | None, lines: np.ndarray, known: np.ndarray, drugs: np.ndarray
    ) -> np.ndarray:
        if self.covariance is None or self.scale is None or self.n_lines is None:
            raise ValueError("Variance is known for drugs of the training alone. Ask for `variance=False`.")
        rows, own = np.zeros((len(lines), len(self.lines))), np.ones(len(lines))
        if cross is not None:
            rows[~known] = self.options.line_share * cross
        rows[known] = self._line_covariance[lines[known]]
        own[known] = self._line_covariance[lines[known], lines[known]]
        variance = posterior_variance(
            rows,
            own,
            drugs,
            self._line_covariance,
            self.covariance,
            noise=self.options.noise,
            of_lines=self.n_drugs.mean() / np.maximum(self.n_drugs, _ALMOST_NONE),
            of_drugs=len(self.lines) / np.maximum(self.n_lines, _ALMOST_NONE),
        )
        return variance * self.scale[drugs] ** 2

    @cached_property
    def _line_covariance(self) -> np.ndarray:
        share = self.options.line_share
        return share * fit_kernel(self.lines, KERNELS[self.options.kernel])[1] + (1 - share) * np.eye(len(self.lines))

    def linear_weights(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights on the features themselves (features × drugs) and intercepts, of new lines; `None` unless the kernel is linear."""
        if self.options.kernel != "linear":
            return None
        scaler = self.kernel.scaler
        weights = primal_weights(scaler.transform(self.lines), self.alpha) / scaler.scale[:, None]
        return weights, self.intercept - scaler.mean @ weights

    # ------------------------------------------------------------------ what was not seen

    def for_drugs(self, drugs: dict[str, np.ndarray]) -> ResponseProcess:
        """The process over drugs that were not in training.

        Parameters
        ----------
        drugs
            What is known of them by name (drugs × features), of the kinds that it was fitted with.

        Raises
        ------
        ValueError
            If it was fitted to fewer than three drugs of which anything is known, or nothing is known of a new one.
        """
        if self.new_drugs is None:
            raise ValueError(
                f"Of fewer than {MIN_DRUGS} drugs of the reference structure or mechanism are known, too few to predict others "
                "from. Add SMILES, targets or pathways to `adata.uns['drugs']`."
            )
        mixture, centre = self.new_drugs.mix(drugs), self.new_drugs.centre
        alpha, intercept = mixture.columns(self.alpha, self.intercept, centre)
        fitted = mixture.mean + (self.fitted - centre) @ mixture.weights
        return ResponseProcess(self.lines, self.n_drugs, alpha, intercept, fitted, self.options)._like(self)

    # ------------------------------------------------------------------ files

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What predicts, as arrays by name; responses stay behind."""
        own = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        new_drugs = {} if self.new_drugs is None else self.new_drugs.to_arrays()
        return {name: storable(value) for name, value in own.items()} | new_drugs

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], options: ProcessOptions) -> ResponseProcess:
        """Take back what :meth:`to_arrays` returned."""
        own = {name: arrays[name] for name in _ARRAYS if name in arrays}
        new_drugs = NewDrugs.from_arrays(arrays) if "potency" in arrays else None
        return cls(**own, options=options, new_drugs=new_drugs)

    @staticmethod
    def wanted_arrays(kinds: tuple[str, ...] = (), *, trained: bool = True) -> dict[str, Array]:
        """What :meth:`to_arrays` returns, as arrays of a file.

        Parameters
        ----------
        kinds
            Names of what it was told of drugs, see :attr:`NewDrugs.features`.
        trained
            Whether its drugs were in training.
        """
        wanted = {name: array for name, array in _ARRAYS.items() if trained or name not in _OF_TRAINING}
        return wanted | (NewDrugs.wanted_arrays(kinds) if kinds else {})


def _over_all_drugs(process: ResponseProcess, seen: np.ndarray, drugs: dict[str, np.ndarray] | None) -> ResponseProcess:
    """The same over all drugs, of which some have no response."""
    if seen.all():
        return process
    parts = {name: _spread(getattr(process, name), seen) for name in ("alpha", "intercept", "fitted", "left_out")}
    asked = np.zeros_like(seen)
    if drugs and process.new_drugs is not None:
        asked = ~seen & np.any([present(part) for part in drugs.values()], axis=0)
    typical = ~seen & ~asked
    for name in parts:
        parts[name][..., typical] = getattr(process, name).mean(axis=-1, keepdims=True)
    if asked.any():
        assert drugs is not None
        new = process.for_drugs({name: part[asked] for name, part in drugs.items()})
        for name in ("alpha", "intercept", "fitted"):
            parts[name][..., asked] = getattr(new, name)
        parts["left_out"][:, asked] = np.nan
    scale = np.full(len(seen), float(np.median(process.scale)))
    scale[seen] = process.scale
    covariance = np.diag(np.full(len(seen), float(np.mean(np.diag(process.covariance)))))
    covariance[np.ix_(seen, seen)] = process.covariance
    n_lines = np.zeros(len(seen), dtype=int)
    n_lines[seen] = process.n_lines
    new_drugs = None if process.new_drugs is None else process.new_drugs.over(seen)
    of_drugs = {"scale": scale, "covariance": covariance, "n_lines": n_lines, "new_drugs": new_drugs}
    return replace(process, **parts, **of_drugs)._like(process)


_OF_TRAINING = ("scale", "covariance", "n_lines")
_ARRAYS = {
    "lines": Array(("lines", "features of lines")), "n_drugs": Array(("lines",), "int"),
    "alpha": Array(("lines", "drugs")), "intercept": Array(("drugs",)), "fitted": Array(("lines", "drugs")),
    "scale": Array(("drugs",)), "covariance": Array(("drugs", "drugs")), "n_lines": Array(("drugs",), "int"),
}  # fmt: skip


def _spread(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Columns of drugs that have responses, at their places among all drugs."""
    out = np.zeros((*values.shape[:-1], len(seen)))
    out[..., seen] = values
    return out
