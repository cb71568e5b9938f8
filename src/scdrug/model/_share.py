"""How much one predictor counts beside another: what is held out to decide it, and the choice, with caution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._validate import warn_caller
from ._batches import TrainingTask
from .prior._process import Context

#: Share of the pairs, of the lines and of the drugs that are held out of training.
_HELD_OUT = 0.05
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


#: New drugs of which a network is taken to know nothing before any was held out.
_DOUBT = 20


@dataclass(frozen=True)
class Shares:
    """Share of the network in a prediction, 0-1, by what is known of the pair."""

    known: float = 0.0
    new_line: float = 0.0
    new_drug: float = 0.0
    new_both: float = 0.0

    @classmethod
    def all(cls, share: float) -> Shares:
        """The same share whatever is known."""
        return cls(*[float(share)] * len(Context))

    @classmethod
    def choose(
        cls,
        prior: np.ndarray,
        network: np.ndarray,
        observed: np.ndarray,
        context: np.ndarray,
    ) -> Shares:
        """The shares that fit held-out responses best by least squares, less one standard error.

        Parameters
        ----------
        prior, network
            Predictions, made without these responses (lines × drugs).
        observed
            Held-out responses that stopped no training (lines × drugs, NaN elsewhere).
        context
            Context of each pair (lines × drugs).

        Returns
        -------
        For each context :func:`cautious_share`, where all drugs of a line err together, or all lines of a drug if the drug is new;
        0 where nothing was held out. Potency of a dozen new drugs is told well or badly by chance: their share is that of n drugs
        among n and twenty more of which the network knows nothing.
        """
        found = []
        for code in Context:
            held = np.where(context == code, observed, np.nan)
            if code & Context.NEW_DRUG:
                n_drugs = int(np.isfinite(held).any(axis=0).sum())
                found.append(cautious_share(network.T, prior.T, held.T) * n_drugs / (n_drugs + _DOUBT))
            else:
                found.append(cautious_share(network, prior, held))
        return cls(*found)

    def of(self, context: np.ndarray) -> np.ndarray:
        """Share of each pair, by its context."""
        return np.array(self.to_json())[context]

    def to_json(self) -> list[float]:
        """The four numbers, in the order of :class:`Context`."""
        return [self.known, self.new_line, self.new_drug, self.new_both]


def hold_out_each(
    measured: np.ndarray, structures: Sequence[str | None], *, seed: int, share: float = _HELD_OUT
) -> np.ndarray:
    """Hold out pairs, whole lines, and whole drugs that have a structure, so that each kind of prediction can be checked.

    Parameters
    ----------
    measured
        Lines × drugs (bool).
    structures
        Canonical SMILES by drug. Drugs of one structure are drawn together, since the others would tell of it; drugs without a
        structure, `None`, are not drawn.
    seed
        Seed of the draw.
    share
        Share of the pairs, of the lines and of the structures.

    Returns
    -------
    Lines × drugs, true where a measured response is held out. A drug that was not drawn keeps some responses.
    """
    rng = np.random.default_rng([seed, 3])
    marked = rng.random(measured.shape) < share
    lines = rng.permutation(np.flatnonzero(measured.any(axis=1)))
    marked[lines[: round(share * len(lines))]] = True
    marked[:, ~(measured & ~marked).any(axis=0)] = False
    known = zip(structures, measured.any(axis=0), strict=True)
    drawn = rng.permutation(list(dict.fromkeys(text for text, seen in known if text is not None and seen)))
    drawn = set(drawn[: int(share * len(drawn))])
    marked[:, [text in drawn for text in structures]] = True
    return marked & measured


def reserve_for_shares(task: TrainingTask, *, seed: int) -> TrainingTask:
    """Set aside half of what is held out, so that the network's share is chosen on responses that stopped nothing.

    Known drugs are divided by line, since all responses of a line err together. All responses of held-out drugs are set aside: a
    handful of drugs, whose potency is hard to tell, would else decide when to stop. Where nothing but drugs is held out, half
    of them stop.
    """
    rng = np.random.default_rng([seed, 4])
    held, known = task.validation, np.isfinite(task.train_response).any(axis=0)
    lines, drugs = np.flatnonzero(held[:, known].any(axis=1)), np.flatnonzero(held.any(axis=0) & ~known)
    aside = np.zeros_like(held)
    if len(lines):
        aside[rng.permutation(lines)[: len(lines) // 2]] = True
        aside[:, drugs] = True
    else:
        aside[:, rng.permutation(drugs)[: len(drugs) // 2]] = True
    return replace(task, reserved=held & aside)


def warn_of_no_share(model: str) -> None:
    """Warn that nothing tells how much a network is worth beside its prior."""
    warn_caller(
        f"Nothing was held out to choose the network's share by, so that predictions of this {model} are those of its prior alone. "
        "Leave `early_stopping` on, or pass `validation`."
    )
