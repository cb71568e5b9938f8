"""The path beside the network: a Gaussian process over lines and drugs, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..prior._coupled import fit_coupled
from ..prior._decomposition import KernelDecomposition, decompose_kernel
from ..prior._drug_kernels import drug_features, drug_similarity
from ..prior._kernels import FIVE_KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ..prior._kronecker import fit_unseen_drugs

#: Fewest structures for a regression on drug similarity.
_MIN_STRUCTURES = 3


@dataclass(frozen=True, eq=False)
class KernelPath:
    """A fitted kernel path.

    Known drugs come from :func:`~scdrug.model.prior._coupled.fit_coupled` with a noise of their own. Drugs that were not
    in training come from a Kronecker ridge: their mean from the kernel on pretrained fingerprints, if there are any, since
    these tell potency best, and how lines differ from the mean of both drug kernels.
    """

    #: Arrays by name: `lines` (lines × genes), `alpha` and `known` (lines × drugs), `intercept` (drugs), and what new drugs
    #: need.
    arrays: dict[str, np.ndarray]
    #: Which drug features there are: ``"mean"`` (MiniMol and Morgan), ``"tanimoto"``, or empty.
    drug_kernel: str

    @classmethod
    def fit(
        cls, expression: np.ndarray, response: np.ndarray, *, smiles: Iterable[str | None] = (), drug_kernel: str = ""
    ) -> KernelPath:
        """Fit the path.

        Parameters
        ----------
        expression
            Lines × genes.
        response
            Lines × drugs, NaN where not measured.
        smiles
            Structure of each drug, empty where unknown.
        drug_kernel
            ``"mean"`` or ``"tanimoto"``; empty if no new drug will be asked for.
        """
        kernel, matrix = fit_kernel(expression, FIVE_KERNELS)
        lines = decompose_kernel(matrix)
        coupled = fit_coupled(lines, response, drug_noise=True)
        arrays = {
            "lines": expression, "alpha": coupled.alpha, "intercept": coupled.intercept, "known": coupled.fitted,
            "left_out": coupled.left_out,
        }  # fmt: skip
        new_drugs = _fit_new_drugs(lines, coupled.fitted, list(smiles), drug_kernel) if drug_kernel else {}
        arrays |= new_drugs
        path = cls({name: _plain(value) for name, value in arrays.items()}, drug_kernel if new_drugs else "")
        vars(path)["_kernel"] = kernel
        return path

    @cached_property
    def _kernel(self) -> ExpressionKernel:
        return fit_kernel(self.arrays["lines"], FIVE_KERNELS)[0]

    def predict(self, expression: np.ndarray, drugs: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Predict responses.

        Parameters
        ----------
        expression
            Rows × genes.
        drugs
            Positions of drugs.
        known
            Position of each row among the training lines, −1 for new ones.

        Returns
        -------
        Rows × drugs.
        """
        arrays, out = self.arrays, np.empty((len(expression), len(drugs)))
        new = known < 0
        out[~new] = arrays["known"][np.ix_(known[~new], drugs)]
        if new.any():
            cross = apply_kernel(self._kernel, expression[new], arrays["lines"])
            out[new] = cross @ arrays["alpha"][:, drugs] + arrays["intercept"][drugs]
        return out

    def unseen(self, smiles: Iterable[str]) -> KernelPath:
        """The path for drugs that were not in training.

        Parameters
        ----------
        smiles
            Their structures.

        Raises
        ------
        ValueError
            If the path has no structures to compare with.
        """
        if not self.drug_kernel:
            raise ValueError(
                "Too few drugs of the reference have a structure to predict others. Add SMILES to the drugs."
            )
        arrays = self.arrays
        features, _ = drug_features(list(smiles), self.drug_kernel)
        cross = drug_similarity({name: arrays[name] for name in features}, features)
        by_mean = cross
        if "minimol" in features:
            by_mean = drug_similarity({"minimol": arrays["minimol"]}, {"minimol": features["minimol"]})
        mean = by_mean @ arrays["drug_alpha"] + arrays["drug_intercept"]
        new = {
            "lines": arrays["lines"],
            "alpha": arrays["residual"] @ cross.T + arrays["line_alpha"],
            "intercept": mean + arrays["line_intercept"],
            "known": arrays["line_effect"][:, None] + mean + (cross @ arrays["line_residual"]).T,
        }
        path = KernelPath({name: _plain(value) for name, value in new.items()}, "")
        vars(path)["_kernel"] = self._kernel
        return path

    def raised(self, by: np.ndarray) -> KernelPath:
        """The path with all predictions of a drug raised by a constant.

        Parameters
        ----------
        by
            How much, by drug.
        """
        moved = {name: self.arrays[name] + _plain(by) for name in ("intercept", "known")}
        path = KernelPath({**self.arrays, **moved}, self.drug_kernel)
        vars(path)["_kernel"] = self._kernel
        return path


def _fit_new_drugs(
    lines: KernelDecomposition, fitted: np.ndarray, smiles: list[str | None], drug_kernel: str
) -> dict[str, np.ndarray]:
    """What predicts drugs that were not in training; empty if there are too few structures."""
    features, usable = drug_features(smiles, drug_kernel)
    if usable.sum() < _MIN_STRUCTURES:
        return {}
    target = fitted[:, usable]
    fit = means = fit_unseen_drugs(target, drug_similarity(features), lines, drug_ridge="auto")
    if "minimol" in features:
        means = fit_unseen_drugs(target, drug_similarity({"minimol": features["minimol"]}), drug_ridge="auto")
    assert fit.line_effect is not None
    assert fit.residual is not None
    return features | {
        "drug_alpha": means.drug_effect.alpha[:, 0], "drug_intercept": means.drug_effect.intercept,
        "residual": fit.residual, "line_alpha": fit.line_effect.alpha, "line_intercept": fit.line_effect.intercept,
        "line_effect": fit.effects.line, "line_residual": fit.line_residual.alpha,
    }  # fmt: skip


def _plain(value: np.ndarray) -> np.ndarray:
    value = np.asarray(value)
    return value if value.dtype == np.uint8 else value.astype(np.float32)
