"""What the process would say of a training pair if it had not seen it: the offsets that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..baseline._drug_kernels import drug_similarity
from ._process import DrugMix, ResponseProcess, fit_process, mix_drugs

#: What is known of a pair when it is predicted.
KNOWN, NEW_LINE, NEW_DRUG, NEW_BOTH = 0, 1, 2, 3
_N_FOLDS = 5
#: Fewest structures to learn from.
_MIN_DRUGS = 2


class DrugStructures:
    """Fingerprints of the training drugs and their similarity.

    Parameters
    ----------
    fingerprints
        Usable drugs × bits.
    usable
        Which drugs have a structure.
    """

    def __init__(self, fingerprints: np.ndarray, usable: np.ndarray) -> None:
        self.fingerprints, self.usable = fingerprints, usable
        self._similarity: np.ndarray | None = None

    @property
    def similarity(self) -> np.ndarray:
        """Tanimoto similarity of all drugs (drugs × drugs), zero for those without a structure."""
        if self._similarity is None:
            full = np.zeros((len(self.usable), len(self.usable)))
            if self.usable.any():
                full[np.ix_(self.usable, self.usable)] = drug_similarity({"fingerprints": self.fingerprints})
            self._similarity = full
        return self._similarity


def offsets(
    response: np.ndarray, kernel: np.ndarray, structures: DrugStructures, *, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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

    Returns
    -------
    offset
        Contexts × lines × drugs, in the unit of the response; contexts are `KNOWN`, `NEW_LINE`, `NEW_DRUG`, `NEW_BOTH`.
        NaN where a drug without structure would have to be predicted from it.
    mean, scale
        Of the drugs; expected from structure for drugs without any value.
    """
    fit = _CrossFit(response, kernel, structures, seed)
    fit.pairs()
    fit.lines()
    fit.drugs()
    return fit.out, *fit.moments()


class _CrossFit:
    """The folds of :func:`offsets`, and what is common to them."""

    def __init__(self, response: np.ndarray, kernel: np.ndarray, structures: DrugStructures, seed: int) -> None:
        self.response, self.kernel, self.structures = response, kernel, structures
        self.rng = np.random.default_rng([seed, 2])
        #: Drugs with a response.
        self.seen = np.isfinite(response).any(axis=0)
        self.whole = fit_process(response[:, self.seen], kernel)
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
        out = self.whole.response(self.whole.known(self.kernel))
        places = np.argwhere(np.isfinite(part))
        for chosen in self._folds(len(places)):
            held = tuple(places[chosen].T)
            reduced = part.copy()
            reduced[held] = np.nan
            if np.isfinite(reduced).any(axis=0).all():  # else these pairs keep the offset that has seen them
                process = fit_process(reduced, self.kernel)
                out[held] = process.response(process.known(self.kernel))[held]
        self.out[KNOWN][:, self.seen] = out

    def lines(self) -> None:
        """New lines: each fold of lines from the others; new drugs in new lines from the same fits."""
        part = self.response[:, self.seen]
        values = self.whole.new(self.kernel)  # right for lines without a response
        out, both = self.whole.response(values), self._structured(self.whole, values)
        for held in self._folds(len(part)):
            reduced = np.where(held[:, None], np.nan, part)
            if np.isfinite(reduced).any(axis=0).all():
                process = fit_process(reduced, self.kernel)
                values = process.new(self.kernel[held])
                out[held], both[held] = process.response(values), self._structured(process, values)
        self.out[NEW_LINE][:, self.seen] = out
        self.out[NEW_BOTH] = both

    def drugs(self) -> None:
        """New drugs in known lines: each fold of drugs from the others."""
        out = self._structured(self.whole, self.whole.known(self.kernel), folds=())
        position = np.cumsum(self.seen) - 1
        for fold in self.drug_folds:
            others, new = self._divide(fold)
            if new.any() and (others & self.structures.usable).sum() >= _MIN_DRUGS:
                kept = position[others]
                covariance = self.whole.covariance[np.ix_(kept, kept)]
                process = fit_process(self.response[:, others], self.kernel, covariance=covariance)
                mixed = self._mix(process, others, new)
                out[:, new] = mixed.mean + mixed.scale * (process.known(self.kernel) @ mixed.profiles)
        self.out[NEW_DRUG] = out

    def _divide(self, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Drugs to learn from, and drugs of the fold that have a structure."""
        new = np.zeros(len(self.seen), dtype=bool)
        new[fold] = True
        return self.seen & ~new, new & self.structures.usable

    def _mix(self, process: ResponseProcess, drugs: np.ndarray, new: np.ndarray) -> DrugMix:
        """How `new` drugs are made of `drugs`, those that the process was fitted to."""
        usable = self.structures.usable & drugs
        similarity = self.structures.similarity
        inner, cross = similarity[np.ix_(usable, usable)], similarity[np.ix_(new, usable)]
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
            part = ResponseProcess(process.alpha[:, kept], process.mean[kept], process.scale[kept], covariance)
            mixed = self._mix(part, others, new)
            out[:, new] = mixed.mean + mixed.scale * (values[:, kept] @ mixed.profiles)
        return out
