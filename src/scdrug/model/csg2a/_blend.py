"""How much of the network goes into a prediction, chosen for each kind of question on held-out responses."""

from __future__ import annotations

import numpy as np

#: Kinds of questions: a missing pair of a known line and a known drug, a new line, a new drug, or both.
KINDS = ("pair", "line", "drug", "both")
#: Shares of the network where nothing was held out to choose them by.
DEFAULT_SHARES = {"pair": 0.05, "line": 0.25, "drug": 0.25, "both": 0.25}
_GRID = np.linspace(0.0, 1.0, 41)


def mixed_hold_out(
    response: np.ndarray, share: float, *, structured: np.ndarray, seed: int, min_drugs: int = 10
) -> np.ndarray:
    """Draw lines, drugs and pairs to hold out at once, so that every kind of question is asked.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    share
        Share of the lines, of the drugs with a structure, and of the pairs of the others.
    structured
        Drugs that have a structure; only these are held out, and only if there are `min_drugs`.
    seed
        Seed of the draw.

    Returns
    -------
    Lines × drugs, true for measured responses that are held out.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import mixed_hold_out
    >>> held = mixed_hold_out(np.zeros((20, 10)), 0.1, structured=np.ones(10, dtype=bool), seed=0)
    >>> int(held.all(axis=1).sum()), int(held.all(axis=0).sum())
    (2, 1)
    """
    if isinstance(share, bool) or not 0 <= share < 1:
        raise ValueError(f"`validation` must be a share of at least 0 and less than 1; found {share!r}.")
    rng = np.random.default_rng([seed, 2])
    measured = np.isfinite(response)
    lines = np.flatnonzero(measured.any(axis=1))
    drugs = np.flatnonzero(structured & measured.any(axis=0))
    held = measured & (rng.random(response.shape) < share / 2)
    if share > 0:
        held[rng.permutation(lines)[: min(max(round(share * len(lines)), 1), max(len(lines) - 2, 0))]] = True
        if len(drugs) >= min_drugs:
            held[:, rng.permutation(drugs)[: max(round(share * len(drugs)), 1)]] = True
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
    Share by kind, 0-1: 1 where the kernel path has no prediction. A kind without held-out responses gets that of a new
    line, or the default.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import choose_shares, kinds_of
    >>> response, held = np.ones((2, 2)), np.array([[True, False], [False, False]])
    >>> shares = choose_shares(np.zeros((2, 2)), np.full((2, 2), 2.0), response, kinds_of(held, ~held))
    >>> shares["pair"]
    0.5
    """
    shares = {}
    for kind, mask in kinds.items():
        mask = mask & np.isfinite(network)
        if not mask.any():
            continue
        if not np.isfinite(kernel[mask]).any():
            shares[kind] = 1.0
            continue
        mask = mask & np.isfinite(kernel)
        residual, step = response[mask] - kernel[mask], network[mask] - kernel[mask]
        # exact: the error is a parabola in the share
        best = float(residual @ step / max(step @ step, 1e-12))
        shares[kind] = float(_GRID[np.abs(_GRID - np.clip(best, 0.0, 1.0)).argmin()])
    return {kind: shares.get(kind, shares.get("line", DEFAULT_SHARES[kind])) for kind in KINDS}
