"""How much of the network goes into a prediction, chosen for each kind of question on held-out responses."""

from __future__ import annotations

import numpy as np

#: Kinds of questions: a missing pair of a known line and a known drug, a new line, a new drug, or both.
KINDS = ("pair", "line", "drug", "both")
#: Shares of the network where nothing was held out to choose them by.
DEFAULT_SHARES = {"pair": 0.05, "line": 0.2, "drug": 0.1, "both": 0.1, "potency": 0.4}
#: Drugs that count as evidence against a share of the network in the potency of new drugs.
_PRIOR_DRUGS = 5
_GRID = np.linspace(0.0, 1.0, 41)


def mixed_hold_out(
    response: np.ndarray, share: float, *, structures: np.ndarray, seed: int, min_structures: int = 10
) -> np.ndarray:
    """Draw lines, drugs and pairs to hold out at once, so that every kind of question is asked.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    share
        Share of the lines, of the structures, and of the pairs of the others.
    structures
        Canonical SMILES of each drug, empty where unknown. Drugs of one structure are held out together, and drugs without one
        never are, since they could be another drug under a second name.
    seed
        Seed of the draw.
    min_structures
        Fewest structures of which some are held out.

    Returns
    -------
    Lines × drugs, true for measured responses that are held out.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import mixed_hold_out
    >>> held = mixed_hold_out(np.zeros((20, 10)), 0.1, structures=np.array(list("abcdefghij")), seed=0)
    >>> int(held.all(axis=1).sum()), int(held.all(axis=0).sum())
    (2, 1)
    """
    if isinstance(share, bool) or not 0 <= share < 1:
        raise ValueError(f"`validation` must be a share of at least 0 and less than 1; found {share!r}.")
    rng = np.random.default_rng([seed, 2])
    measured = np.isfinite(response)
    lines = np.flatnonzero(measured.any(axis=1))
    names = np.array([text or f"~{column}" for column, text in enumerate(structures)], dtype=str)
    _, codes = np.unique(names, return_inverse=True)
    held = (rng.random((len(response), codes.max(initial=-1) + 1)) < share / 2)[:, codes]
    candidates = np.unique(codes[(structures != "") & measured.any(axis=0)])
    if share > 0:
        held[rng.permutation(lines)[: min(max(round(share * len(lines)), 1), max(len(lines) - 2, 0))]] = True
        if len(candidates) >= min_structures:
            held[:, np.isin(codes, rng.permutation(candidates)[: max(round(share * len(candidates)), 1)])] = True
    return held & measured


def kinds_of(held: np.ndarray, trained: np.ndarray) -> dict[str, np.ndarray]:
    """Kind of question that each held-out response answers.

    Parameters
    ----------
    held
        Lines × drugs, true where held out.
    trained
        Lines × drugs, true where a response was trained on.

    Returns
    -------
    Mask by kind (lines × drugs).
    """
    line, drug = trained.any(axis=1)[:, None], trained.any(axis=0)[None, :]
    return {
        "pair": held & line & drug,
        "line": held & ~line & drug,
        "drug": held & line & ~drug,
        "both": held & ~line & ~drug,
    }


def choose_shares(
    kernel: np.ndarray, network: np.ndarray, response: np.ndarray, kinds: dict[str, np.ndarray]
) -> dict[str, float]:
    """Share of the network with the least squared error, for each kind of question.

    For new drugs, how potent a drug is on average and how lines differ from that have shares of their own: the former is
    most of the error, and would decide the latter too.

    Parameters
    ----------
    kernel, network
        Predictions, lines × drugs; NaN where a path has none.
    response
        Lines × drugs.
    kinds
        Masks, see :func:`kinds_of`.

    Returns
    -------
    Share by kind, 0-1: 1 where the kernel path has no prediction; and under ``"potency"`` the share in the means of new drugs. A
    kind without held-out responses gets the default.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import choose_shares, kinds_of
    >>> response, held = np.ones((2, 2)), np.array([[True, False], [False, False]])
    >>> shares = choose_shares(np.zeros((2, 2)), np.full((2, 2), 2.0), response, kinds_of(held, ~held))
    >>> shares["pair"]
    0.5
    """
    shares = dict(DEFAULT_SHARES)
    residual, step = response - kernel, network - kernel
    for kind in ("pair", "line"):
        mask = kinds[kind] & np.isfinite(step)
        if mask.any():
            shares[kind] = _share(residual[mask], step[mask])
    new = (kinds["drug"] | kinds["both"]) & np.isfinite(network)
    if new.any() and not np.isfinite(kernel[new]).any():
        return shares | {"drug": 1.0, "both": 1.0, "potency": 1.0}
    new &= np.isfinite(kernel)
    if new.any():
        drugs = np.flatnonzero(new.any(axis=0))
        counts = new[:, drugs].sum(axis=0)
        means = [np.where(new, part, 0.0)[:, drugs].sum(axis=0) / counts for part in (residual, step)]
        weight = len(drugs) / (len(drugs) + _PRIOR_DRUGS)
        shares["potency"] = weight * _share(means[0], means[1], np.sqrt(counts))
        inside = new[:, drugs]
        rest = _share((residual[:, drugs] - means[0])[inside], (step[:, drugs] - means[1])[inside])
        shares["drug"] = shares["both"] = rest
    return shares


def _share(residual: np.ndarray, step: np.ndarray, weight: np.ndarray | float = 1.0) -> float:
    """Share of a step that leaves the least of a residual: the error is a parabola in it."""
    residual, step = residual * weight, step * weight
    best = float(np.clip(residual @ step / max(float(step @ step), 1e-12), 0.0, 1.0))
    return float(_GRID[np.abs(_GRID - best).argmin()])
