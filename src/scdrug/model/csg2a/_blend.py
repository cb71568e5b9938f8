"""How much of the network goes into a prediction, chosen on held-out responses for known and for new lines."""

from __future__ import annotations

import numpy as np

from .._share import cautious_share

#: Share of the network where nothing was held out to choose it by, for each kind of question: a missing pair of a known line, or
#: a new line; the drug is known in both.
DEFAULT_SHARES = {"pair": 0.0, "line": 0.05}


def mixed_hold_out(response: np.ndarray, share: float, *, structures: np.ndarray, seed: int) -> np.ndarray:
    """Draw lines and pairs to hold out at once, so that both kinds of questions are asked.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    share
        Share of the lines; half of it is the share of the pairs of the others.
    structures
        Canonical SMILES of each drug, empty where unknown. The pairs of a line with drugs of one structure are held out
        together: a drug under a second name would give the answer away.
    seed
        Seed of the draw.

    Returns
    -------
    Lines × drugs, true for measured responses that are held out. A drug keeps some of its responses.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import mixed_hold_out
    >>> held = mixed_hold_out(np.zeros((20, 10)), 0.1, structures=np.array(list("abcdefghij")), seed=0)
    >>> int(held.all(axis=1).sum()), int(held.all(axis=0).sum())
    (2, 0)
    """
    if isinstance(share, bool) or not 0 <= share < 1:
        raise ValueError(f"`validation` must be a share of at least 0 and less than 1; found {share!r}.")
    rng = np.random.default_rng([seed, 2])
    measured = np.isfinite(response)
    lines = np.flatnonzero(measured.any(axis=1))
    names = np.array([text or f"~{column}" for column, text in enumerate(structures)], dtype=str)
    _, codes = np.unique(names, return_inverse=True)
    held = (rng.random((len(response), codes.max(initial=-1) + 1)) < share / 2)[:, codes]
    if share > 0:
        held[rng.permutation(lines)[: min(max(round(share * len(lines)), 1), max(len(lines) - 2, 0))]] = True
    held[:, ~(measured & ~held).any(axis=0)] = False
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
    known = trained.any(axis=1)[:, None]
    return {"pair": held & known, "line": held & ~known}


def choose_shares(
    kernel: np.ndarray, network: np.ndarray, response: np.ndarray, kinds: dict[str, np.ndarray]
) -> dict[str, float]:
    """Share of the network for each kind of question, see :func:`scdrug.model._share.cautious_share`.

    Parameters
    ----------
    kernel, network
        Predictions, lines × drugs.
    response
        Lines × drugs.
    kinds
        Masks, see :func:`kinds_of`.

    Returns
    -------
    Share by kind, 0-1; a kind without held-out responses gets the default.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model.csg2a._blend import choose_shares, kinds_of
    >>> response, held = np.ones((4, 2)), np.tile([True, False], (4, 1))
    >>> shares = choose_shares(np.zeros((4, 2)), np.full((4, 2), 2.0), response, kinds_of(held, ~held))
    >>> shares["pair"]
    0.5
    """
    unit = np.ones(response.shape[1])
    found = {
        kind: cautious_share(network, kernel, np.where(mask, response, np.nan), scale=unit)
        for kind, mask in kinds.items()
        if mask.any()
    }
    return DEFAULT_SHARES | found
