"""Find sets of drugs: arrays in, sets out. Nothing here knows of cells or names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import scipy.sparse as sp

#: Sets up to which all are looked at.
_ALL = 300_000
#: Sets that are carried on where not all are.
_BEAM = 300
#: Numbers that a block of sets may take.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Problem:
    """What is asked of a set of drugs. Survival multiplies, so that its logarithms add up."""

    #: ln(1 − kill) by clone and drug, ≤ 0 (clones × drugs).
    survival: np.ndarray
    #: Whether two drugs may stand in one set (drugs × drugs); nothing is asked of the diagonal.
    allowed: np.ndarray
    #: Weights of the clones, which add up to 1; among sets with an equal worst clone the weighted kill decides (clones).
    weights: np.ndarray
    #: ln(1 − kill) of groups of normal cells (groups × drugs), their weights, which add up to 1, and the least share of normal cells that a
    #: set may leave; `None` if nothing is asked.
    normal: np.ndarray | None = None
    normal_weights: np.ndarray | None = None
    least_normal: float = 0.0

    def scores(self, sets: np.ndarray) -> np.ndarray:
        """Kill of the worst clone, with a hundred-thousandth of the mean kill; −1 for sets that are not allowed (sets)."""
        out = np.empty(len(sets))
        step = max(1, _BLOCK // (sets.shape[1] * len(self.survival)))
        for start in range(0, len(sets), step):
            part = sets[start : start + step]
            left = np.exp(self.survival[:, part].sum(axis=2))  # clones × sets
            score = 1 - left.max(axis=0) + 1e-5 * (1 - self.weights @ left)
            out[start : start + step] = np.where(self.admits(part), score, -1.0)
        return out

    def admits(self, sets: np.ndarray) -> np.ndarray:
        """Whether sets hold no pair that is not allowed, and spare enough of the normal cells (sets)."""
        ok = np.ones(len(sets), dtype=bool)
        for one, other in combinations(range(sets.shape[1]), 2):
            ok &= self.allowed[sets[:, one], sets[:, other]]
        if self.normal is not None:
            ok &= self.normal_weights @ np.exp(self.normal[:, sets].sum(axis=2)) >= self.least_normal
        return ok


def best_sets(problem: Problem, k: int, n: int) -> tuple[np.ndarray, bool]:
    """The best sets of k drugs, best first (sets × k, drugs ascending), and whether all were looked at.

    Where there are too many, the best pairs are extended drug by drug, and drugs are exchanged as long as that helps.
    """
    n_drugs = problem.survival.shape[1]
    if comb(n_drugs, k) <= _ALL:
        sets = np.array(list(combinations(range(n_drugs), k)), dtype=np.int32).reshape(-1, k)
        return _top(problem, sets, n)[0], True
    pairs = np.stack(np.triu_indices(n_drugs, 1), axis=1).astype(np.int32)
    beam, _ = _top(problem, pairs, max(_BEAM, n))
    for _ in range(k - 2):
        beam, _ = _top(problem, _extended(beam, n_drugs), max(_BEAM, n))
    scores = problem.scores(beam)
    while True:
        swapped = np.concatenate([_extended(np.delete(beam[:n], one, axis=1), n_drugs) for one in range(k)])
        better, found = _top(problem, np.concatenate([beam, swapped]), max(_BEAM, n))
        if np.array_equal(found[:n], scores[:n]):
            return beam[:n], False
        beam, scores = better, found


def _extended(sets: np.ndarray, n_drugs: int) -> np.ndarray:
    """Each set with each further drug."""
    wide = np.repeat(sets, n_drugs, axis=0)
    drug = np.tile(np.arange(n_drugs, dtype=np.int32), len(sets))
    new = ~(wide == drug[:, None]).any(axis=1)
    return np.sort(np.column_stack([wide[new], drug[new]]), axis=1)


def _top(problem: Problem, sets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n best of the sets that are allowed, each once, and their scores."""
    sets = np.unique(sets, axis=0) if len(sets) else sets
    scores = problem.scores(sets)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= 0][:n]
    return sets[order], scores[order]


def fewest_drugs(
    hits: np.ndarray,
    normal_hits: np.ndarray,
    *,
    min_covered: float,
    max_normal: float,
    k: int,
    exclusive: list[np.ndarray],
    time_limit: float = 60.0,
) -> np.ndarray | None:
    """The fewest drugs that hit enough malignant and not too many normal cells, by integer programming.

    Parameters
    ----------
    hits, normal_hits
        Whether a drug hits a cell (cells × drugs, bool).
    min_covered, max_normal
        Least share of malignant cells that is hit by at least one drug, and greatest of normal ones.
    k
        Most drugs.
    exclusive
        Sets of drugs of which at most one may be taken.

    Returns
    -------
    Positions of the drugs; `None` if there is no such set, or none was found in time.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    malignant, m_weight = np.unique(hits, axis=0, return_counts=True)
    normal, n_weight = np.unique(normal_hits, axis=0, return_counts=True)
    n_drugs, n_m, n_n = hits.shape[1], len(malignant), len(normal)
    n = n_drugs + n_m + n_n
    rows, low, high = [], [], []

    def add(matrix: sp.spmatrix, lower: np.ndarray | float, upper: np.ndarray | float) -> None:
        rows.append(matrix)
        low.append(np.broadcast_to(lower, matrix.shape[0]).astype(float))
        high.append(np.broadcast_to(upper, matrix.shape[0]).astype(float))

    # a malignant cell counts as hit only if a chosen drug hits it; a normal one counts as soon as one does
    add(sp.hstack([sp.csr_matrix(malignant, dtype=float), -sp.eye(n_m), sp.csr_matrix((n_m, n_n))]), 0.0, np.inf)
    if n_n:
        add(sp.hstack([sp.csr_matrix(normal, dtype=float), sp.csr_matrix((n_n, n_m)), -k * sp.eye(n_n)]), -np.inf, 0.0)
        budget = np.concatenate([np.zeros(n_drugs + n_m), n_weight])
        add(sp.csr_matrix(budget), -np.inf, np.floor(max_normal * n_weight.sum() + 1e-9))
    covered = np.concatenate([np.zeros(n_drugs), m_weight, np.zeros(n_n)])
    add(sp.csr_matrix(covered), np.ceil(min_covered * m_weight.sum() - 1e-9), np.inf)
    for members in [np.arange(n_drugs), *exclusive]:
        row = np.zeros(n)
        row[members] = 1
        add(sp.csr_matrix(row), 0.0, float(k if len(members) == n_drugs else 1))
    found = milp(
        np.concatenate([np.ones(n_drugs), np.zeros(n_m + n_n)]),
        integrality=np.concatenate([np.ones(n_drugs), np.zeros(n_m), np.ones(n_n)]),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(sp.vstack(rows, format="csr"), np.concatenate(low), np.concatenate(high)),
        # up to four drugs, a bound within a quarter of the number found proves that no smaller one will do
        options={"time_limit": time_limit, "mip_rel_gap": 0.24},
    )
    return None if found.x is None else np.flatnonzero(found.x[:n_drugs] > 0.5)
