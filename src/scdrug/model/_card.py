"""What a model class is, in data: shown by `list_models`, checked by the harness, printed into CARD.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """Capabilities and origin of a model class."""

    name: str
    summary: str
    #: Paper and equations.
    source: str
    #: Predicts lines or cells that were not in training.
    unseen_cells: bool
    #: Predicts drugs that were not in training, from their structure.
    unseen_drugs: bool
    #: Fills responses that are missing between known lines and known drugs from other responses.
    completes: bool = False
    #: Trains in epochs and stops on validation responses, which it keeps out of the loss.
    validates: bool = False
    #: Sees unlabelled expression of the target domain in training.
    transductive: bool = False
    #: Has a latent space.
    latent: bool = False
    #: Where it is known to fail.
    limits: str = ""
