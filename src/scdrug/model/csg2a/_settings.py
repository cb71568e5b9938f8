"""The forms of the network: as in the paper, as in the code released with it, and a small one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..._validate import check_choice, nearest
from ...nn._attention import PROPAGATIONS

DRUG_FEATURES = ("minimol", "morgan", "mat", "graph")
SCALINGS = ("fixed", "scalar", "per_gene", "released")
FREEZES = ("auto", "frozen", "released", "none")


@dataclass(frozen=True)
class Settings:
    """Everything that decides the shape and the training of a network."""

    #: What is read of structures, the argument `drug_features`: fingerprints, or an encoder that is trained. Files have it so.
    encoder: str = "minimol"
    #: Width of a trained encoder, its layers and heads.
    encoder_width: int = 1024
    encoder_layers: int = 8
    encoder_heads: int = 16
    #: How attention acts on expression.
    propagation: str = "matmul"
    #: Length of a gene's code.
    n_hidden: int = 16
    #: Width of each of the three branches, and of the layers after them.
    n_branch: int = 128
    head: tuple[int, ...] = (128, 32)
    #: ``"batch"`` or ``"layer"`` norm in branches and head.
    norm: str = "layer"
    dropout: float = 0.2
    #: Scaling of expression before the core.
    scaling: str = "fixed"
    #: What happens to a pretrained core.
    freeze: str = "auto"
    #: Largest deviation of a gene that the network sees, in standard deviations; 0 for no limit.
    clip: float = 5.0
    #: Whether the network works on responses with mean 0 and deviation 1.
    standardize: bool = True
    #: µM and hours at which responses were measured.
    dose: float = 10.0
    time: float = 72.0
    weight_decay: float = 1e-2
    #: Whether weight decay is a part of the gradient (Adam), as published, or apart from it (AdamW).
    coupled_decay: bool = False
    #: Epochs of the cosine schedule, 0 for a constant rate; and the rate after it.
    cosine_epochs: int = 20
    final_lr: float = 1e-5
    #: Defaults of `train`.
    lr: float = 1e-3
    batch_size: int = 1024
    max_epochs: int = 20
    patience: int = 4

    def __post_init__(self) -> None:
        check_choice("drug_features", self.encoder, DRUG_FEATURES)
        check_choice("propagation", self.propagation, PROPAGATIONS)
        check_choice("scaling", self.scaling, SCALINGS)
        check_choice("freeze", self.freeze, FREEZES)
        check_choice("norm", self.norm, ("batch", "layer"))
        if not self.dose > 0 or not self.time > 0:
            raise ValueError(f"`dose` (µM) and `time` (h) must be positive; found {self.dose} and {self.time}.")
        for name in ("n_hidden", "n_branch", "encoder_width", "encoder_layers", "encoder_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more; found {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and below 1; found {self.dropout}.")


_PAPER = Settings(
    encoder="mat", n_hidden=64, n_branch=512, head=(512, 64), norm="batch", dropout=0.1, scaling="scalar",
    clip=0.0, standardize=False, weight_decay=1e-5, coupled_decay=True, cosine_epochs=20, lr=1e-4, batch_size=128, max_epochs=500,
    patience=20,
)  # fmt: skip

#: Settings by name: the small network; the paper; the code released with it.
PRESETS = {
    "default": Settings(),
    "csg2a": _PAPER,
    "csg2a_released": replace(_PAPER, propagation="rowsum", scaling="released", freeze="released"),
}


def settings_of(preset: str, changes: dict[str, Any]) -> Settings:
    """Settings of a preset with some of them replaced.

    Raises
    ------
    ValueError
        If the preset or a setting is not known, or a value is out of range.
    """
    check_choice("preset", preset, tuple(PRESETS))
    known = Settings.__dataclass_fields__
    for name in changes:
        if name not in known:
            near = nearest(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name!r} is no setting of CSG2A.{hint} Settings: {', '.join(known)}.")
    changes = {name: tuple(value) if name == "head" else value for name, value in changes.items()}
    return replace(PRESETS[preset], **changes)
