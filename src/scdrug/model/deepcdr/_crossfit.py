"""What the process would say of a training pair if it had not seen it: the offsets that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..prior._decomposition import KernelDecomposition, decompose_kernel
from ..prior._drug_kernels import drug_similarity
from ._process import NEW_SHARES, DrugMix, ResponseProcess, fit_process, fit_shares, mix_drugs

#: What is known of a pair when it is predicted.
KNOWN, NEW_LINE, NEW_DRUG, NEW_BOTH = 0, 1, 2, 3
N_CONTEXTS = 4
_N_FOLDS = 5
#: Fewest structures to learn from.
_MIN_DRUGS = 2


class DrugStructures:
    """Structures of the training drugs and their similarity.

    Parameters
    ----------
    features
        Features of the usable drugs by name, as from :func:`scdrug.model.prior._drug_kernels.drug_features`.
    usable
        Which drugs have a structure.
    """

    def __init__(self, features: dict[str, np.ndarray], usable: np.ndarray) -> None:
        self.features, self.usable = features, usable

    @cached_property
    def kernels(self) -> np.ndarray:
        """Similarity of all drugs by each kind of features (kinds × drugs × drugs), zero for those without a structure."""
        full = np.zeros((len(self.features), len(self.usable), len(self.usable)))
        if self.usable.any():
            full[np.ix_(range(len(full)), self.usable, self.usable)] = structure_kernels(self.features)
        return full


def structure_kernels(training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Similarity by each kind of features (kinds × new × training drugs), of the training drugs themselves by default."""
    return np.stack(
        [drug_similarity({name: training[name]}, None if new is None else {name: new[name]}) for name in training]
    )


class Offsets(NamedTuple):
    """What the process says of pairs that it has not seen."""

    #: Contexts × lines × drugs, in the unit of the response; contexts are `KNOWN`, `NEW_LINE`, `NEW_DRUG`, `NEW_BOTH`. NaN
    #: where a drug without structure would have to be predicted from it.
    values: np.ndarray
    #: Mean and standard deviation of the drugs; expected from structure for drugs without any response.
    mean: np.ndarray
    scale: np.ndarray
    #: Share of a line's covariance that expression explains, for new lines.
    new_share: float


def offsets(
    response: np.ndarray, kernel: np.ndarray, structures: DrugStructures, *, seed: int, lines_only: bool = False
) -> Offsets:
    """Offset of every pair in every context, never made from the pair's own response.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured or not to be used; a drug may have no value at all.
    kernel
        Similarity of lines.
    structures
        Structures of the drugs.
    seed
        Seed of the folds.
    lines_only
        Only leave lines out; nothing else is needed where no network is trained.

    Returns
    -------
    The offsets, moments of the drugs, and the share of expression for new lines.
    """
    fit = _CrossFit(response, decompose_kernel(kernel), structures, seed)
    fit.lines()
    if not lines_only:
        fit.pairs()
        fit.drugs()
    return Offsets(fit.out, *fit.moments(), fit.new_share)


class _CrossFit:
    """The folds of :func:`offsets`, and what is common to them."""

    def __init__(
        self, response: np.ndarray, kernel: KernelDecomposition, structures: DrugStructures, seed: int
    ) -> None:
        self.response, self.kernel, self.structures = response, kernel, structures
        self.rng = np.random.default_rng([seed, 2])
        #: Drugs with a response.
        self.seen = np.isfinite(response).any(axis=0)
        self.whole = fit_process(response[:, self.seen], kernel)
        self.new_share = NEW_SHARES[0]
        self.out = np.full((4, *response.shape), np.nan)
        self.drug_folds = [np.flatnonzero(self.seen)[fold] for fold in self._folds(int(self.seen.sum()))]

    def _folds(self, n: int) -> Iterator[np.ndarray]:
        fold = self.rng.permutation(n) % _N_FOLDS
        for k in range(min(_N_FOLDS, n)):
            yield fold == k

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each drug; from structure, or typical ones, for drugs without a response."""
        mean = np.full(self.response.shape[1], self.whole.mean.mean())
        scale = np.full(self.response.shape[1], float(np.median(self.whole.scale)))
        mean[self.seen], scale[self.seen] = self.whole.mean, self.whole.scale
        unseen = ~self.seen & self.structures.usable
        if unseen.any() and (self.seen & self.structures.usable).sum() >= _MIN_DRUGS:
            mixed = self._mix(self.whole, self.seen, unseen)
            mean[unseen], scale[unseen] = mixed.mean, mixed.scale
        return mean, scale

    def pairs(self) -> None:
        """Known lines and drugs: each fold of pairs from the others."""
        part = self.response[:, self.seen]
        out = self.whole.response(self.whole.known(self.kernel.kernel))
        places = np.argwhere(np.isfinite(part))
        for chosen in self._folds(len(places)):
            held = tuple(places[chosen].T)
            reduced = part.copy()
            reduced[held] = np.nan
            if np.isfinite(reduced).any(axis=0).all():  # else these pairs keep the offset that has seen them
                process = fit_process(reduced, self.kernel)
                out[held] = process.response(process.known(self.kernel.kernel))[held]
        self.out[KNOWN][:, self.seen] = out

    def lines(self) -> None:
        """New lines: each fold of lines from the others, with the share of expression that fits them best.

        New drugs in new lines come from the same fits.
        """
        part = self.response[:, self.seen]
        left_out = np.full((len(NEW_SHARES), *part.shape), np.nan)
        fits, measured = [], np.isfinite(part).any(axis=1)
        for held in self._folds(len(part)):
            kept = ~held & measured
            if np.isfinite(part[kept]).any(axis=0).all():
                shares = fit_shares(part[kept], self.kernel.kernel[np.ix_(kept, kept)])
                cross = self.kernel.kernel[np.ix_(held, kept)]
                fits.append((held, cross, shares))
                for out, process in zip(left_out, shares, strict=True):
                    out[held] = process.response(process.new(cross))
        errors = np.nanmean(((left_out - part) / self.whole.scale) ** 2, axis=(1, 2)) if fits else np.zeros(1)
        best = int(np.argmin(errors))
        self.new_share = NEW_SHARES[best]
        # right for lines without a response, and for lines that no fold could leave out
        whole = fit_process(part, self.kernel, covariance=self.whole.covariance, share=self.new_share)
        values = whole.new(self.kernel.kernel)
        out, both = whole.response(values), self._structured(whole, values)
        for held, cross, shares in fits:
            values = shares[best].new(cross)
            out[held], both[held] = shares[best].response(values), self._structured(shares[best], values)
        self.out[NEW_LINE][:, self.seen] = out
        self.out[NEW_BOTH] = both

    def drugs(self) -> None:
        """New drugs in known lines: each fold of drugs from the others."""
        out = self._structured(self.whole, self.whole.known(self.kernel.kernel), folds=())
        position = np.cumsum(self.seen) - 1
        for fold in self.drug_folds:
            others, new = self._divide(fold)
            if new.any() and (others & self.structures.usable).sum() >= _MIN_DRUGS:
                kept = position[others]
                covariance = self.whole.covariance[np.ix_(kept, kept)]
                process = fit_process(self.response[:, others], self.kernel, covariance=covariance)
                mixed = self._mix(process, others, new)
                out[:, new] = mixed.mean + mixed.scale * (process.known(self.kernel.kernel) @ mixed.profiles)
        self.out[NEW_DRUG] = out

    def _divide(self, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Drugs to learn from, and drugs of the fold that have a structure."""
        new = np.zeros(len(self.seen), dtype=bool)
        new[fold] = True
        return self.seen & ~new, new & self.structures.usable

    def _mix(self, process: ResponseProcess, drugs: np.ndarray, new: np.ndarray) -> DrugMix:
        """How `new` drugs are made of `drugs`, those that the process was fitted to."""
        usable = self.structures.usable & drugs
        kernels = self.structures.kernels
        inner, cross = kernels[:, usable][:, :, usable], kernels[:, new][:, :, usable]
        return mix_drugs(process, inner, cross, self.structures.usable[drugs])

    def _structured(
        self, process: ResponseProcess, values: np.ndarray, *, folds: Sequence[np.ndarray] | None = None
    ) -> np.ndarray:
        """Responses of each drug as its structure alone would have it (rows × drugs).

        `values` are standardised profiles of the drugs that were seen; each fold is made from the others, and drugs that were
        not seen from all.
        """
        out = np.full((len(values), len(self.seen)), np.nan)
        position = np.cumsum(self.seen) - 1
        for fold in [*(self.drug_folds if folds is None else folds), np.flatnonzero(~self.seen)]:
            others, new = self._divide(fold)
            if not new.any() or (others & self.structures.usable).sum() < _MIN_DRUGS:
                continue
            kept = position[others]
            covariance = process.covariance[np.ix_(kept, kept)]
            part = ResponseProcess(
                process.alpha[:, kept], process.mean[kept], process.scale[kept], covariance, process.share
            )
            mixed = self._mix(part, others, new)
            out[:, new] = mixed.mean + mixed.scale * (values[:, kept] @ mixed.profiles)
        return out
