"""How much one predictor counts beside another: chosen on held-out lines, with caution."""

from __future__ import annotations

import numpy as np

#: Fewest groups that can vary.
_FEWEST = 3


def cautious_share(
    network: np.ndarray, other: np.ndarray, observed: np.ndarray, *, scale: np.ndarray | float = 1.0
) -> float:
    """Share of a network in a prediction that has another part: the best on held-out lines, less one standard error.

    The network's training was stopped by the same lines, so that it looks better on them than it is, and lines, not
    pairs, are what varies: all drugs of a line err together.

    Parameters
    ----------
    network, other
        Predictions, lines × drugs.
    observed
        Held-out responses, lines × drugs, NaN where not measured.
    scale
        Standard deviation of each drug (drugs), in units of which errors count; the unit of the response if omitted.

    Returns
    -------
    g = Σ bᵢ / Σ aᵢ over lines i minus sqrt(n / (n − 1) Σ (bᵢ − g aᵢ)²) / Σ aᵢ, cut to 0-1, where aᵢ = Σ d², bᵢ = Σ d·r over the
    line's drugs, d = (network − other) / scale and r = (observed − other) / scale; 0 with fewer than three lines.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model._share import cautious_share
    >>> other, observed = np.zeros((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> cautious_share(2 * observed, other, observed, scale=np.ones(1))
    0.5
    >>> cautious_share(-observed, other, observed, scale=np.ones(1))
    0.0
    """
    known = np.isfinite(observed)
    apart = np.where(known, (network - other) / scale, 0.0)
    left = np.where(known, (observed - other) / scale, 0.0)
    lines = known.any(axis=1)
    return share_of_groups((apart**2).sum(axis=1)[lines], (apart * left).sum(axis=1)[lines])


def share_of_groups(size: np.ndarray, gain: np.ndarray) -> float:
    """The same from sums aᵢ and bᵢ over groups of responses that err together, such as those of a line.

    Parameters
    ----------
    size, gain
        Sums of d² and of d·r (groups).

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.model._share import share_of_groups
    >>> round(share_of_groups(np.ones(4), np.array([0.4, 0.6, 0.4, 0.6])), 3)
    0.442
    """
    total = float(size.sum())
    if len(size) < _FEWEST or total <= 0:
        return 0.0
    best = float(gain.sum()) / total
    error = float(np.sqrt(len(size) / (len(size) - 1) * ((gain - best * size) ** 2).sum())) / total
    return float(min(max(best - error, 0.0), 1.0))
