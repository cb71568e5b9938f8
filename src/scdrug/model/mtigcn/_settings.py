"""Hyper-parameters of MTIGCN and the presets that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..._validate import check_choice
from ...pp._molecules import minimol_is_installed
from .._options import preset_settings

#: The tasks; NIHGCN (Peng et al. 2022) is ``("classification",)`` alone.
TASKS = ("classification", "regression", "similarity")
EDGES = ("binary", "weighted")
#: Features of drugs, and the kernel that compares them; those of the table cannot be computed for other drugs.
DRUG_KERNELS = {"morgan": "tanimoto", "minimol": "minimol", "both": "mean"}
DRUG_FEATURES = ("auto", *DRUG_KERNELS, "table")
#: Tasks that a network needs for each.
TASK_OF = {"response": "regression", "sensitivity": "classification"}
#: Terms of the loss, and their weights in the paper.
PUBLISHED_WEIGHTS = {"classification": 0.75, "regression": 0.25, "lines": 0.10, "drugs": 0.25}


@dataclass(frozen=True)
class Settings:
    """What a preset fixes and a keyword replaces; the defaults are the preset ``"default"``."""

    tasks: tuple[str, ...] = TASKS
    hidden: int = 256
    width: int = 256
    #: Weight of the interaction between a node and its neighbours.
    alpha: float = 0.25
    weights: Mapping[str, float] = field(default_factory=lambda: dict(PUBLISHED_WEIGHTS))
    #: Factors that stand for expression; 0 for as many as there are lines.
    rank: int = 256
    edges: str = "weighted"
    edge_dropout: float = 0.2
    #: Share of nodes that lose all edges in a step, so that the network learns to do without.
    node_dropout: float = 0.1
    dropout: float = 0.2
    norm: bool = True
    #: ``"auto"`` is replaced by ``"both"`` where MiniMol is installed, and by ``"morgan"`` elsewhere.
    drug_features: str = "auto"
    # not to be set one by one
    #: ln IC50 in standard deviations of the drug around its mean; else ln IC50 as it is.
    scale_response: bool = True
    #: ``"median"`` or ``"published"``.
    line_similarity: str = "median"
    #: Width of the published similarity of lines, exp(−‖x − y‖ / (2 ε²)).
    epsilon: float = 3.0
    tie_similarity_heads: bool = False
    gamma: float = 8.0
    regression_scale: float = 15.0
    max_epochs: int = 150
    patience: int = 20
    lr: float = 2e-3
    weight_decay: float = 1e-2
    #: Decay as part of the gradient, as the published Adam has it, or apart from it.
    decoupled: bool = True

    def with_values(self, **given: Any) -> Settings:
        """The same with what was given, that is, is not `None`.

        Raises
        ------
        ValueError
            If a value is out of range or two settings exclude each other.
        """
        changed = {name: value for name, value in given.items() if value is not None}
        if "tasks" in changed:
            changed["tasks"] = _tasks(changed["tasks"])
        if "weights" in changed:
            changed["weights"] = {**self.weights, **_weights(changed["weights"])}
        result = replace(self, **changed)
        check_choice("edges", result.edges, EDGES)
        check_choice("drug_features", result.drug_features, DRUG_FEATURES)
        if result.drug_features == "auto":
            result = replace(result, drug_features="both" if minimol_is_installed() else "morgan")
        return result

    @property
    def has_similarity(self) -> bool:
        """Whether similarities are predicted."""
        return "similarity" in self.tasks


def _tasks(tasks: Sequence[str] | str) -> tuple[str, ...]:
    chosen = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    for task in chosen:
        check_choice("tasks", task, TASKS)
    if not {"classification", "regression"} & set(chosen):
        raise ValueError(f"`tasks` needs 'classification' or 'regression', which predict a response; found {chosen}.")
    return tuple(task for task in TASKS if task in chosen)


def _weights(weights: Mapping[str, float]) -> dict[str, float]:
    for name, value in weights.items():
        check_choice("weights", name, tuple(PUBLISHED_WEIGHTS))
        if not value >= 0:
            raise ValueError(f"`weights[{name!r}]` must not be negative; found {value}.")
    return {name: float(value) for name, value in weights.items()}


_PUBLISHED = Settings(
    hidden=1024,
    width=1024,
    rank=0,
    edges="binary",
    edge_dropout=0.0,
    node_dropout=0.0,
    dropout=0.0,
    drug_features="morgan",
    scale_response=False,
    line_similarity="published",
    max_epochs=200,
    patience=50,
    lr=1e-3,
    weight_decay=1e-5,
    decoupled=False,
)

#: Settings by name. ``"mtigcn"``: the paper, with the scales of the correlations that its numbers need;
#: ``"mtigcn_released"``: as the released code computes; ``"nihgcn"``: the encoder with classification alone.
PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "mtigcn": _PUBLISHED,
    "mtigcn_released": replace(_PUBLISHED, epsilon=2.0, tie_similarity_heads=True),
    "nihgcn": replace(_PUBLISHED, tasks=("classification",), weights={**PUBLISHED_WEIGHTS, "classification": 1.0}),
}

#: Settings of a preset with what was given instead, see :func:`preset_settings`.
settings_of = partial(preset_settings, PRESETS)
